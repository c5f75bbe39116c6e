# cmake -D SOURCE=... -D COMPILE=compiler;options -P check.cmake
# The file must not compile, and the compiler must print what each of its lines `// expect: <regex>` says. With
# -D IVL_CONTROL, where it leaves the wrong thing out, it must compile: so the wrong thing is all that is wrong.
cmake_policy(VERSION 3.25)
set(ENV{LC_ALL} C)  # plain quotes in the compiler's messages

file(STRINGS ${SOURCE} expectations REGEX "^// expect: ")
if(NOT expectations)
  message(FATAL_ERROR "${SOURCE}: expected a line \"// expect: <regex>\", found none")
endif()

execute_process(COMMAND ${COMPILE} -DIVL_CONTROL ${SOURCE} RESULT_VARIABLE result ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${SOURCE}: with IVL_CONTROL it must compile, found:\n${output}")
endif()

execute_process(COMMAND ${COMPILE} ${SOURCE} RESULT_VARIABLE result ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE}: it must not compile, but it does")
endif()
foreach(line IN LISTS expectations)
  string(REGEX REPLACE "^// expect: " "" expected "${line}")
  if(NOT output MATCHES "${expected}")
    message(FATAL_ERROR "${SOURCE}: expected \"${expected}\" among the compiler's messages, found:\n${output}")
  endif()
endforeach()
