# ivl::compiled: the bodies of all that is no template on a checkpoint, compiled once for all files that link it
# (ivl/core/compiled.hpp). They must be for the same instructions, so it hands its -march on: native, or IVL_MARCH.
set(ivl_sources "")
foreach(part cpu files models openai text video)
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

# ivl::http, where Boost and OpenSSL were found: the server and the fetching of pictures, all that needs those two. What
# it is built of is not seen by those who link it.
set(ivl_http_source ${CMAKE_CURRENT_BINARY_DIR}/ivl_definitions_http.cpp)
file(WRITE ${ivl_http_source}.new "#include <ivl/definitions_http.ipp>\n")
file(COPY_FILE ${ivl_http_source}.new ${ivl_http_source} ONLY_IF_DIFFERENT)

# ivl_add_http(target compiled): such a library, beside one of ivl_add_compiled's.
function(ivl_add_http target compiled)
  add_library(${target} STATIC EXCLUDE_FROM_ALL ${ivl_http_source})
  target_link_libraries(${target} PUBLIC ${compiled} PRIVATE ivl::boost ivl::openssl)
endfunction()

if(IVL_HTTP)
  ivl_add_http(ivl_http ivl_compiled)
  add_library(ivl::http ALIAS ivl_http)
endif()
