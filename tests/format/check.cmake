# cmake -D ROOT=... -D CLANG_FORMAT=... -P check.cmake: every source file is as .clang-format says. To mend one:
# clang-format-16 -i FILE
cmake_policy(VERSION 3.25)
set(files "")
foreach(folder include kernels examples tests bench)
  file(GLOB_RECURSE found ${ROOT}/${folder}/*.hpp ${ROOT}/${folder}/*.ipp ${ROOT}/${folder}/*.cpp
                          ${ROOT}/${folder}/*.cuh ${ROOT}/${folder}/*.cu)
  list(APPEND files ${found})
endforeach()
if(NOT files)
  message(FATAL_ERROR "${ROOT}: expected source files, found none")
endif()
execute_process(COMMAND ${CLANG_FORMAT} --dry-run -Werror ${files} RESULT_VARIABLE result ERROR_VARIABLE errors)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${errors}")
endif()
