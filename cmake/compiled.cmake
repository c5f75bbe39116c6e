# ivl::compiled: the bodies of all that is no template on a checkpoint, compiled once for all files that link it
# (ivl/core/compiled.hpp). They must be for the same instructions, so it hands its -march on: native, or IVL_MARCH.
set(ivl_sources "")
foreach(part cpu files models text video)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/ivl_definitions_${part}.cpp)
  file(WRITE ${source}.new "#include <ivl/definitions_${part}.ipp>\n")
  file(COPY_FILE ${source}.new ${source} ONLY_IF_DIFFERENT)
  list(APPEND ivl_sources ${source})
endforeach()

# ivl_add_compiled(target flags...): such a library, for files that are compiled with these flags.
function(ivl_add_compiled target)
  add_library(${target} STATIC EXCLUDE_FROM_ALL ${ivl_sources})
  target_link_libraries(${target} PUBLIC ivl::ivl)
  target_compile_definitions(${target} PUBLIC IVL_COMPILED)
  foreach(flag IN LISTS ARGN)
    target_compile_options(${target} PUBLIC $<$<COMPILE_LANGUAGE:CXX>:${flag}>
                                            $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${flag}>)
  endforeach()
endfunction()

if(NOT IVL_MARCH)
  set(IVL_MARCH native)
endif()
ivl_add_compiled(ivl_compiled -march=${IVL_MARCH})
add_library(ivl::compiled ALIAS ivl_compiled)
