# Finds what ivl's headers include; used by ivl's own build and by its installed package. Debian has no CMake packages
# for PCRE2, utf8proc and stb, so these are found by their files. Sets ivl_missing to the names of what is not there.
set(ivl_missing "")
find_package(Threads REQUIRED)

find_package(nlohmann_json 3.11 QUIET CONFIG)
if(NOT nlohmann_json_FOUND)
  list(APPEND ivl_missing nlohmann_json)
endif()

# ivl_find(name header [libraries...]): the imported target ivl::name.
function(ivl_find name header)
  if(TARGET ivl::${name})
    return()
  endif()
  string(TOUPPER ${name} upper)
  find_path(IVL_${upper}_INCLUDE_DIR ${header})
  mark_as_advanced(IVL_${upper}_INCLUDE_DIR)
  set(found ${IVL_${upper}_INCLUDE_DIR})
  set(libraries "")
  foreach(library IN LISTS ARGN)
    find_library(IVL_${library}_LIBRARY ${library})
    mark_as_advanced(IVL_${library}_LIBRARY)
    list(APPEND libraries ${IVL_${library}_LIBRARY})
    if(NOT IVL_${library}_LIBRARY)
      set(found FALSE)
    endif()
  endforeach()
  if(NOT found)
    set(ivl_missing ${ivl_missing} ${name} PARENT_SCOPE)
    return()
  endif()
  add_library(ivl::${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(ivl::${name} SYSTEM INTERFACE ${IVL_${upper}_INCLUDE_DIR})
  target_link_libraries(ivl::${name} INTERFACE ${libraries})
endfunction()

ivl_find(pcre2 pcre2.h pcre2-8)
ivl_find(utf8proc utf8proc.h utf8proc)
ivl_find(stb stb/stb_image.h)

# What gives Pillow's pixels, where it is installed; else stb_image decodes JPEG, and WebP, TIFF and video are refused.
option(IVL_LIBJPEG "Decode JPEG with libjpeg-turbo, if it is there" ON)
option(IVL_LIBWEBP "Decode WebP with libwebp, if it is there" ON)
option(IVL_LIBTIFF "Decode TIFF with libtiff 4.5 or newer, if it is there" ON)
option(IVL_FFMPEG "Decode video with FFmpeg's libraries, if they are there" ON)
include(CheckCXXSourceCompiles)

# ivl_find_optional(name macro header libraries program): the target ivl::name, which defines the macro. It is empty where
# the macro's option is off, a library is not there, or the program does not compile with them.
function(ivl_find_optional name macro header libraries program)
  if(TARGET ivl::${name})
    return()
  endif()
  if(${macro})
    ivl_find(${name} ${header} ${libraries})  # what it misses is missed in this function alone
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

ivl_find_optional(jpeg IVL_LIBJPEG jpeglib.h jpeg "
#include <cstdio>
#include <jpeglib.h>
#ifndef LIBJPEG_TURBO_VERSION
#error another library with the interface of libjpeg
#endif
int main() { jpeg_decompress_struct info{}; jpeg_destroy_decompress(&info); }")
ivl_find_optional(webp IVL_LIBWEBP webp/decode.h webp "
#include <webp/decode.h>
int main() { return WebPGetDecoderVersion() == 0; }")
ivl_find_optional(tiff IVL_LIBTIFF tiffio.h tiff "
#include <tiffio.h>
int main() { TIFFOpenOptionsFree(TIFFOpenOptionsAlloc()); }")
ivl_find_optional(ffmpeg IVL_FFMPEG libavformat/avformat.h "avformat;avcodec;swscale;avutil" "
extern \"C\" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}
#if LIBAVFORMAT_VERSION_MAJOR < 59
#error older than FFmpeg 5.0
#endif
int main() { return avformat_version() + avcodec_version() + swscale_version() == 0; }")
# They bring some eighty libraries, which a program that reads no video shall not load when it starts.
set_target_properties(ivl::ffmpeg PROPERTIES INTERFACE_LINK_OPTIONS LINKER:--as-needed)

# What ivl::http is made of (compiled.cmake). Only headers of Boost are used.
option(IVL_BOOST "Serve and fetch by HTTP with Boost 1.74 or newer, if it is there" ON)
option(IVL_OPENSSL "Serve and fetch by HTTP with OpenSSL 3 or newer, if it is there" ON)
ivl_find_optional(boost IVL_BOOST boost/beast/http/basic_parser.hpp "" "
#include <boost/version.hpp>
#if BOOST_VERSION < 107400
#error older than Boost 1.74
#endif
int main() {}")
ivl_find_optional(openssl IVL_OPENSSL openssl/ssl.h "ssl;crypto" "
#include <openssl/ssl.h>
#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error older than OpenSSL 3
#endif
int main() { SSL_CTX_free(SSL_CTX_new(TLS_client_method())); }")
if(IVL_BOOST AND IVL_BOOST_WORKS AND IVL_OPENSSL AND IVL_OPENSSL_WORKS)
  set(IVL_HTTP ON)
else()
  set(IVL_HTTP OFF)
endif()
