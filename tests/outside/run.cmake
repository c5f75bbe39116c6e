# cmake -D MODE=package|subdirectory -D IVL=... -D IVL_BUILD=... -D WORK=... -D GENERATOR=... -D CXX=... -P run.cmake
# Builds the project beside this file from nothing and runs it.
cmake_policy(VERSION 3.25)
file(REMOVE_RECURSE ${WORK})

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(MODE STREQUAL package)
  run(${CMAKE_COMMAND} --install ${IVL_BUILD} --prefix ${WORK}/prefix)
  set(from -D IVL_FROM=package -D CMAKE_PREFIX_PATH=${WORK}/prefix)
else()
  set(from -D IVL_FROM=${IVL})
endif()
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${WORK}/build -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${CXX} ${from})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/outside)
run(${WORK}/build/outside_native)
if(EXISTS ${WORK}/build/outside_cuda)
  run(${WORK}/build/outside_cuda)
endif()
