# cmake -D PROGRAM=describe_image -D EXAMPLES=examples -P device_flag.cmake: with --device cuda it answers what it
# answers on the CPU, or says in one line, before anything else, why it cannot.
cmake_policy(VERSION 3.25)

function(ask device)
  execute_process(COMMAND ${PROGRAM} --device ${device} --checkpoint ${EXAMPLES}/drawn_scenes/checkpoint
                          --image ${EXAMPLES}/drawn_scenes/demo/balloons.png
                          --question "How many red circles are there?"
                  RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE error)
  set(code ${code} PARENT_SCOPE)
  set(out "${out}" PARENT_SCOPE)
  set(error "${error}" PARENT_SCOPE)
endfunction()

set(reason "(^|\n)error: [^\n]*(no CUDA device|driver|built without CUDA)[^\n]*\n$")
ask(cuda)
if(code EQUAL 0)
  set(answer "${out}")
  ask(cpu)
  if(NOT answer STREQUAL out)
    message(FATAL_ERROR "on CUDA: ${answer}on the CPU: ${out}")
  endif()
elseif(NOT code EQUAL 1 OR NOT out STREQUAL "" OR NOT error MATCHES "${reason}")
  message(FATAL_ERROR "expected a last line about why there is no CUDA, and exit code 1; "
                      "found code ${code}, \"${out}\", \"${error}\"")
else()
  message(STATUS "skipped: ${error}")
endif()
