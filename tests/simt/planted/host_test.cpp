// Planted bugs: a host that does not keep to the stream's order.
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

namespace {

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { (void)cudaStreamDestroy(stream_); }
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// What is in pinned memory, 0xFF at first.
struct Pinned {
  int* data = nullptr;
  Pinned() { check(cudaMallocHost(&data, sizeof *data)); }
  ~Pinned() { (void)cudaFreeHost(data); }
};

}  // namespace

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
        const Stream stream;
        cudaGraph_t graph = nullptr;
        cudaGraphExec_t executable = nullptr;
        check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        launch(store, {.grid = 1, .block = 1, .stream = stream}, result.data(), planted ? nullptr : step.data(), 1);
        check(cudaStreamEndCapture(stream, &graph));
        check(cudaGraphInstantiate(&executable, graph, 0));
        bool right = true;
        for (const int now : {1, 2}) {
          check(cudaMemcpy(step.data(), &now, sizeof now, cudaMemcpyHostToDevice));
          check(cudaGraphLaunch(executable, stream));
          right &= result.download()[0] == now;
        }
        check(cudaGraphExecDestroy(executable));
        check(cudaGraphDestroy(graph));
        return right;
      },
      {.wrong_values = true});
}

TEST_CASE("planted: the host looks at pinned memory before the copy to it was waited for") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> on_device(std::vector<int>{1});
        const Stream stream;
        const Pinned pinned;
        check(cudaMemcpyAsync(pinned.data, on_device.data(), sizeof(int), cudaMemcpyDeviceToHost, stream));
        if (!planted) check(cudaStreamSynchronize(stream));
        return *pinned.data == 1;
      },
      {.wrong_values = true});
}

TEST_CASE("planted: a kernel reads what a copy in another stream brings, without a wait for its event") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> on_device(1), result(1);
        const Stream copies, kernels;
        const Pinned pinned;
        cudaEvent_t copied = nullptr;
        check(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
        *pinned.data = 1;
        check(cudaMemcpyAsync(on_device.data(), pinned.data, sizeof(int), cudaMemcpyHostToDevice, copies));
        check(cudaEventRecord(copied, copies));
        if (!planted) check(cudaStreamWaitEvent(kernels, copied));
        launch(
            +[](int* to, const int* from) { *to = *from; }, {.grid = 1, .block = 1, .stream = kernels}, result.data(),
            on_device.data());
        check(cudaEventDestroy(copied));
        return result.download()[0] == 1;
      },
      {.wrong_values = true});
}

TEST_CASE(
    "planted: a kernel reads what a kernel in another stream writes, without a wait, or with one that is too early") {
  for (const bool too_early : {false, true}) {
    check_planted(
        [=](bool planted) {
          DeviceArray<int> between(1), other(1), result(1);
          const Stream first, second;
          const auto store = +[](int* to) { *to = 1; };
          const auto copy = +[](int* to, const int* from) { *to = *from; };
          cudaEvent_t stored = nullptr;
          check(cudaEventCreateWithFlags(&stored, cudaEventDisableTiming));
          if (planted && too_early) check(cudaEventRecord(stored, first));
          launch(store, {.grid = 1, .block = 1, .stream = first}, between.data());
          launch(store, {.grid = 1, .block = 1, .stream = first}, other.data());  // which is not read
          if (!planted) check(cudaEventRecord(stored, first));
          if (!planted || too_early) check(cudaStreamWaitEvent(second, stored));
          launch(copy, {.grid = 1, .block = 1, .stream = second}, result.data(), between.data());
          check(cudaEventDestroy(stored));
          return result.download()[0] == 1;
        },
        {.race_checker = {Bug::stream}, .says = "without a wait for the write by a thread of an earlier kernel"});
  }
}

TEST_CASE("planted: a kernel writes over what another stream fills, and the host reads without a wait") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> values(1);
        const Stream fills, kernels;
        check(cudaMemsetAsync(values.data(), 0, sizeof(int), fills));
        if (!planted) check(cudaStreamSynchronize(fills));
        launch(
            +[](int* to) { *to = 1; }, {.grid = 1, .block = 1, .stream = kernels}, values.data());
        return values.download()[0] == 1;
      },
      {.race_checker = {Bug::stream}, .says = "writes device memory"});
  check_planted(
      [](bool planted) {
        DeviceArray<int> values(1);
        const Stream kernels;
        int found = 0;
        launch(
            +[](int* to) { *to = 1; }, {.grid = 1, .block = 1, .stream = kernels}, values.data());
        if (!planted) check(cudaStreamSynchronize(kernels));
        check(cudaMemcpy(&found, values.data(), sizeof found, cudaMemcpyDeviceToHost));
        return found == 1;
      },
      {.race_checker = {Bug::stream}, .says = "reads device memory"});
}

TEST_CASE("planted: what may not be captured is refused, and spoils the capture") {
  const Stream stream, other;
  const Pinned pinned;
  DeviceArray<int> on_device(1);
  int pageable = 0;
  void* memory = nullptr;
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) == cudaErrorStreamCaptureUnsupported);
  const auto captured = [&](const auto& action) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    const cudaError_t code = action();
    const cudaError_t end = cudaStreamEndCapture(stream, &graph);
    CHECK((code == cudaSuccess) == (end == cudaSuccess));
    CHECK((code == cudaSuccess) == (graph != nullptr));
    if (code != cudaSuccess) CHECK(end == cudaErrorStreamCaptureInvalidated);
    if (graph != nullptr) check(cudaGraphDestroy(graph));
    return code;
  };
  const auto copy = [&](int* host) {
    return cudaMemcpyAsync(on_device.data(), host, sizeof(int), cudaMemcpyHostToDevice, stream);
  };
  constexpr cudaError_t no = cudaErrorStreamCaptureUnsupported;
  CHECK(captured([&] { return cudaMalloc(&memory, 1); }) == no);
  CHECK(captured([&] { return cudaFree(on_device.data()); }) == no);
  CHECK(captured([&] { return cudaMallocHost(&memory, 1); }) == no);
  CHECK(captured([&] { return cudaFreeHost(pinned.data); }) == no);
  CHECK(captured([&] { return cudaStreamSynchronize(stream); }) == no);
  CHECK(captured([&] { return cudaDeviceSynchronize(); }) == no);
  CHECK(captured([&] { return cudaMemset(on_device.data(), 0, sizeof(int)); }) == no);
  CHECK(captured([&] { return cudaMemcpy(&pageable, on_device.data(), sizeof(int), cudaMemcpyDeviceToHost); }) == no);
  CHECK(captured([&] { return copy(&pageable); }) == no);
  CHECK(captured([&] { return cudaStreamWaitEvent(stream, event); }) == no);
  const auto wait_for_captured_event = [&] {
    check(cudaEventRecord(event, stream));
    return cudaEventSynchronize(event);
  };
  CHECK(captured(wait_for_captured_event) == cudaErrorCapturedEvent);
  CHECK(captured([&] { return copy(pinned.data); }) == cudaSuccess);
  CHECK(captured([&] { return cudaStreamSynchronize(other); }) == cudaSuccess);
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorInvalidValue);
  check(cudaEventDestroy(event));
}

TEST_CASE("planted: work of another stream is no part of a capture") {
  DeviceArray<int> values(2);
  const Stream stream, other;
  cudaGraph_t graph = nullptr;
  const auto store = +[](int* to) { *to = 1; };
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  launch(store, {.grid = 1, .block = 1, .stream = stream}, values.data());
  launch(store, {.grid = 1, .block = 1, .stream = other}, values.data() + 1);
  check(cudaStreamEndCapture(stream, &graph));
  check(cudaGraphDestroy(graph));
  CHECK(values.download() == std::vector<int>{-1, 1});
}
