# cmake -D FAULT=... -D PROGRAM=... -P planted_run.cmake: passes where the program fails, crashes or hangs; for the fault
# `none` where it passes.
execute_process(COMMAND ${PROGRAM} TIMEOUT 100 RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(FAULT STREQUAL none AND NOT result EQUAL 0)
  message(FATAL_ERROR "planted: without a fault, the tests fail:\n${output}")
elseif(NOT FAULT STREQUAL none AND result EQUAL 0)
  message(FATAL_ERROR "planted: nobody noticed ${FAULT}")
endif()
