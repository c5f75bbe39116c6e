// Planted bugs: a host that does not keep to the stream's order.
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

TEST_CASE("planted: pinned memory is filled again before it was copied") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> on_device(1);
        int* pinned = nullptr;
        check(cudaMallocHost(&pinned, sizeof *pinned));
        *pinned = 1;
        check(cudaMemcpyAsync(on_device.data(), pinned, sizeof *pinned, cudaMemcpyHostToDevice, nullptr));
        if (!planted) check(cudaStreamSynchronize(nullptr));
        *pinned = 2;
        const int found = on_device.download()[0];
        check(cudaFreeHost(pinned));
        return found == 1;
      },
      {.wrong_values = true});
}

TEST_CASE("planted: an event that was not recorded behind a copy does not wait for it") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> on_device(1);
        int* pinned = nullptr;
        cudaEvent_t sent = nullptr;
        check(cudaMallocHost(&pinned, sizeof *pinned));
        check(cudaEventCreateWithFlags(&sent, cudaEventDisableTiming));
        *pinned = 1;
        check(cudaMemcpyAsync(on_device.data(), pinned, sizeof *pinned, cudaMemcpyHostToDevice, nullptr));
        if (!planted) check(cudaEventRecord(sent, nullptr));
        check(cudaEventSynchronize(sent));
        *pinned = 2;
        const int found = on_device.download()[0];
        check(cudaEventDestroy(sent));
        check(cudaFreeHost(pinned));
        return found == 1;
      },
      {.wrong_values = true});
}

TEST_CASE("planted: a captured launch takes a value from the host that changes from step to step") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> step(1), result(1);
        const auto store = +[](int* to, const int* from, int value) { *to = from != nullptr ? *from : value; };
        cudaGraph_t graph = nullptr;
        cudaGraphExec_t executable = nullptr;
        check(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal));
        launch(store, {.grid = 1, .block = 1}, result.data(), planted ? nullptr : step.data(), 1);
        check(cudaStreamEndCapture(nullptr, &graph));
        check(cudaGraphInstantiate(&executable, graph, 0));
        bool right = true;
        for (const int now : {1, 2}) {
          check(cudaMemcpy(step.data(), &now, sizeof now, cudaMemcpyHostToDevice));
          check(cudaGraphLaunch(executable, nullptr));
          right &= result.download()[0] == now;
        }
        check(cudaGraphExecDestroy(executable));
        check(cudaGraphDestroy(graph));
        return right;
      },
      {.wrong_values = true});
}

TEST_CASE("planted: what may not be captured is refused") {
  check(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal));
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, 1) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamSynchronize(nullptr) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaEventSynchronize(nullptr) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) == cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(nullptr, &graph));
  check(cudaGraphDestroy(graph));
  check(cudaStreamSynchronize(nullptr));
}
