# ivl::compiled: the bodies of all that is no template on a checkpoint, compiled once for all files that link it
# (ivl/core/compiled.hpp). They must be for the same instructions, so it hands its -march on: native, or IVL_MARCH.
set(ivl_source ${CMAKE_CURRENT_BINARY_DIR}/ivl_definitions.cpp)
file(WRITE ${ivl_source}.new "#include <ivl/definitions.ipp>\n")
file(COPY_FILE ${ivl_source}.new ${ivl_source} ONLY_IF_DIFFERENT)
add_library(ivl_compiled STATIC EXCLUDE_FROM_ALL ${ivl_source})
add_library(ivl::compiled ALIAS ivl_compiled)
target_link_libraries(ivl_compiled PUBLIC ivl::ivl)
target_compile_definitions(ivl_compiled PUBLIC IVL_COMPILED)
if(NOT IVL_MARCH)
  set(IVL_MARCH native)
endif()
target_compile_options(ivl_compiled PUBLIC $<$<COMPILE_LANGUAGE:CXX>:-march=${IVL_MARCH}>
                                           $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-march=${IVL_MARCH}>)
