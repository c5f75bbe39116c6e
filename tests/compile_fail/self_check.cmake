# cmake -D WORK=... -D COMPILE=compiler;options -P self_check.cmake: check.cmake must see each way a file can be wrong.
cmake_policy(VERSION 3.25)

function(expect name text sentence)
  file(WRITE ${WORK}/${name}.cpp "${text}\n")
  execute_process(COMMAND ${CMAKE_COMMAND} -D SOURCE=${WORK}/${name}.cpp "-D COMPILE=${COMPILE}"
                          -P ${CMAKE_CURRENT_LIST_DIR}/check.cmake RESULT_VARIABLE result ERROR_VARIABLE error)
  if(sentence STREQUAL "" AND NOT result EQUAL 0)
    message(FATAL_ERROR "${name}: expected no objection, found:\n${error}")
  elseif(NOT sentence STREQUAL "")
    string(REGEX REPLACE "[ \n]+" " " error "${error}")  # CMake wraps its messages
    if(result EQUAL 0 OR NOT error MATCHES "${sentence}")
      message(FATAL_ERROR "${name}: expected \"${sentence}\", found: ${error}")
    endif()
  endif()
endfunction()

set(wrong "#ifndef IVL_CONTROL\nstatic_assert(sizeof(int) == 3, \"an int has three bytes\");\n#endif")
expect(right "// expect: int has three bytes\n${wrong}" "")
expect(other_message "// expect: int has five bytes\n${wrong}" "among the compiler's messages")
expect(second_message "// expect: int has three bytes\n// expect: int has five bytes\n${wrong}" "five bytes")
expect(compiles "// expect: int has three bytes\nint x;" "it must not compile")
expect(control_fails "// expect: int has three bytes\n${wrong}\nint y = z;" "with IVL_CONTROL it must compile")
expect(no_expectation "${wrong}" "expected a line")
