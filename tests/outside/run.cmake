# cmake -D MODE=package|subdirectory -D IVL=... -D IVL_BUILD=... -D WORK=... -D GENERATOR=... -D CXX=... -P run.cmake
# Builds the project beside this file from nothing and runs it; as a subdirectory without the libraries that ivl can do
# without.
cmake_policy(VERSION 3.25)
file(REMOVE_RECURSE ${WORK})

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(MODE STREQUAL package)
  run(${CMAKE_COMMAND} --install ${IVL_BUILD} --prefix ${WORK}/prefix)
  set(from -D IVL_FROM=package -D CMAKE_PREFIX_PATH=${WORK}/prefix)
else()
  set(from -D IVL_FROM=${IVL} -D IVL_LIBJPEG=OFF -D IVL_LIBWEBP=OFF -D IVL_LIBTIFF=OFF -D IVL_FFMPEG=OFF -D IVL_BOOST=OFF)
endif()
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${WORK}/build -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${CXX} ${from})
run(${CMAKE_COMMAND} --build ${WORK}/build)
set(picture ${IVL}/tests/golden/decoded/plain.jpg)
run(${WORK}/build/outside ${picture})
run(${WORK}/build/outside_native ${picture})
if(MODE STREQUAL package)
  run(${WORK}/build/outside_compiled)
endif()
if(EXISTS ${WORK}/build/outside_cuda)
  run(${WORK}/build/outside_cuda)
endif()
