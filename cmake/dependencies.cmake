# Finds what ivl's headers include; used by ivl's own build and by its installed package. Debian has no CMake packages
# for PCRE2, utf8proc and stb, so these are found by their files. Sets ivl_missing to the names of what is not there.
set(ivl_missing "")
find_package(Threads REQUIRED)

find_package(nlohmann_json 3.11 QUIET CONFIG)
if(NOT nlohmann_json_FOUND)
  list(APPEND ivl_missing nlohmann_json)
endif()

# ivl_find(name header [library]): the imported target ivl::name.
function(ivl_find name header)
  set(library ${ARGN})
  if(TARGET ivl::${name})
    return()
  endif()
  string(TOUPPER ${name} upper)
  find_path(IVL_${upper}_INCLUDE_DIR ${header})
  if(library)
    find_library(IVL_${upper}_LIBRARY ${library})
    mark_as_advanced(IVL_${upper}_LIBRARY)
  endif()
  mark_as_advanced(IVL_${upper}_INCLUDE_DIR)
  if(NOT IVL_${upper}_INCLUDE_DIR OR (library AND NOT IVL_${upper}_LIBRARY))
    set(ivl_missing ${ivl_missing} ${name} PARENT_SCOPE)
    return()
  endif()
  add_library(ivl::${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(ivl::${name} SYSTEM INTERFACE ${IVL_${upper}_INCLUDE_DIR})
  if(library)
    target_link_libraries(ivl::${name} INTERFACE ${IVL_${upper}_LIBRARY})
  endif()
endfunction()

ivl_find(pcre2 pcre2.h pcre2-8)
ivl_find(utf8proc utf8proc.h utf8proc)
ivl_find(stb stb/stb_image.h)

# What gives Pillow's pixels, where it is installed; else stb_image decodes JPEG, and WebP and TIFF are refused.
option(IVL_LIBJPEG "Decode JPEG with libjpeg-turbo, if it is there" ON)
option(IVL_LIBWEBP "Decode WebP with libwebp, if it is there" ON)
option(IVL_LIBTIFF "Decode TIFF with libtiff 4.5 or newer, if it is there" ON)
include(CheckCXXSourceCompiles)

# ivl_find_decoder(name macro header library program): the target ivl::name, which defines the macro. It is empty where
# the macro's option is off, the library is not there, or the program does not compile with it.
function(ivl_find_decoder name macro header library program)
  if(TARGET ivl::${name})
    return()
  endif()
  if(${macro})
    ivl_find(${name} ${header} ${library})  # what it misses is missed in this function alone
  endif()
  if(NOT TARGET ivl::${name})
    add_library(ivl::${name} INTERFACE IMPORTED GLOBAL)
    return()
  endif()
  set(CMAKE_REQUIRED_LIBRARIES ivl::${name})
  set(CMAKE_REQUIRED_QUIET ON)
  check_cxx_source_compiles("${program}" ${macro}_WORKS)
  if(${macro}_WORKS)
    target_compile_definitions(ivl::${name} INTERFACE ${macro})
  else()
    set_target_properties(ivl::${name} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "" INTERFACE_LINK_LIBRARIES "")
  endif()
endfunction()

ivl_find_decoder(jpeg IVL_LIBJPEG jpeglib.h jpeg "
#include <cstdio>
#include <jpeglib.h>
#ifndef LIBJPEG_TURBO_VERSION
#error another library with the interface of libjpeg
#endif
int main() { jpeg_decompress_struct info{}; jpeg_destroy_decompress(&info); }")
ivl_find_decoder(webp IVL_LIBWEBP webp/decode.h webp "
#include <webp/decode.h>
int main() { return WebPGetDecoderVersion() == 0; }")
ivl_find_decoder(tiff IVL_LIBTIFF tiffio.h tiff "
#include <tiffio.h>
int main() { TIFFOpenOptionsFree(TIFFOpenOptionsAlloc()); }")
