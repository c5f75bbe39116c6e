# cmake -D WORK=... -P check_resources_self_check.cmake: check_resources.cmake must object to each wrong log, with the
# right sentence.
cmake_policy(VERSION 3.25)

# More arguments: bytes of the stack frame, and a remark of ptxas.
function(expect what page registers spill sentence)
  set(stack 0)
  set(remark "")
  if(ARGC GREATER 5)
    set(stack ${ARGV5})
  endif()
  if(ARGC GREATER 6)
    set(remark "ptxas info    : ${ARGV6}\n")
  endif()
  file(REMOVE_RECURSE ${WORK})
  file(WRITE ${WORK}/kernels/x.cuh "// x: nothing.\n//\n// ${page}\n__global__ void x_kernel() {}\n")
  file(WRITE ${WORK}/objects/x.o.resources
"ptxas info    : Compiling entry function '_ZN3ivl4cuda6detail8x_kernelIiEEvv' for 'sm_80'
${remark}ptxas info    : Function properties for _ZN3ivl4cuda6detail8x_kernelIiEEvv
    ${stack} bytes stack frame, ${spill} bytes spill stores, ${spill} bytes spill loads
ptxas info    : Used ${registers} registers, used 1 barriers, 352 bytes cmem[0]
ptxas info    : Compiling entry function '_ZN4test9y_kernelEv' for 'sm_80'
ptxas info    : Used 250 registers
")
  execute_process(COMMAND ${CMAKE_COMMAND} -D KERNELS=${WORK}/kernels -D OBJECTS=${WORK}/objects
                          -P ${CMAKE_CURRENT_LIST_DIR}/check_resources.cmake
                  RESULT_VARIABLE result ERROR_VARIABLE error)
  string(REGEX REPLACE "[ \n]+" " " error "${error}")  # CMake wraps its messages
  if(sentence STREQUAL "")
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "${what}: expected no objection, found: ${error}")
    endif()
  else()
    string(FIND "${error}" "${sentence}" place)
    if(result EQUAL 0 OR place EQUAL -1)
      message(FATAL_ERROR "${what}: expected \"${sentence}\", found: ${error}")
    endif()
  endif()
endfunction()

set(page "Registers at most 64 (narrow) and 72 a thread, no spills.")
expect("as many as it says" "${page}" 72 0 "")
expect("one more" "${page}" 73 0 "73 registers, x.cuh says at most 72")
expect("a spill" "${page}" 60 4 "spills 4 bytes and loads 4")
expect("a stack frame" "${page}" 60 0 "has a stack frame of 16 bytes" 16)
expect("wgmma that wait" "${page}" 60 0 "wgmma.mma_async instructions are serialized" 0
       "(C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to x in function 'x_kernel'")
expect("another remark" "${page}" 60 0 "" 0 "(C7010) A remark of another kind in function 'x_kernel'")
expect("a page that says nothing" "No word." 60 0 "x.cuh does not say")
file(REMOVE_RECURSE ${WORK}/objects)
execute_process(COMMAND ${CMAKE_COMMAND} -D KERNELS=${WORK}/kernels -D OBJECTS=${WORK}/objects
                        -P ${CMAKE_CURRENT_LIST_DIR}/check_resources.cmake
                RESULT_VARIABLE result ERROR_VARIABLE error)
if(result EQUAL 0)
  message(FATAL_ERROR "no log at all: expected an objection")
endif()
