# cmake -D PAGE=page.html -D HEADER=page.hpp -P embed_page.cmake: a header with the page, and with the
# Content-Security-Policy that lets a browser run its one script and its one style, and nothing else from anywhere.
cmake_policy(VERSION 3.25)
file(READ ${PAGE} page)

# As CSP names a text: 'sha256-' and its digest in base64, which CMake gives in hexadecimal only.
function(source_of variable tag)
  string(FIND "${page}" "<${tag}" first)
  string(FIND "${page}" "<${tag}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "${PAGE}: expected one <${tag}>, found none or several")
  endif()
  string(SUBSTRING "${page}" ${first} -1 text)
  string(FIND "${text}" ">" begin)
  string(FIND "${text}" "</${tag}>" end)
  math(EXPR begin "${begin} + 1")
  math(EXPR length "${end} - ${begin}")
  string(SUBSTRING "${text}" ${begin} ${length} text)
  string(SHA256 digest "${text}")

  set(digits "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  string(APPEND digest 00)  # 32 bytes and one more: 22 times three hexadecimal digits, or two of base64
  set(base64 "")
  foreach(begin RANGE 0 63 3)
    string(SUBSTRING ${digest} ${begin} 3 three)
    math(EXPR high "0x${three} >> 6")
    math(EXPR low "0x${three} & 63")
    string(SUBSTRING ${digits} ${high} 1 high)
    string(SUBSTRING ${digits} ${low} 1 low)
    string(APPEND base64 ${high}${low})
  endforeach()
  string(REGEX REPLACE ".$" "=" base64 ${base64})  # the last digit is all of the added byte
  set(${variable} "'sha256-${base64}'" PARENT_SCOPE)
endfunction()
source_of(script script)
source_of(style style)

string(FIND "${page}" ")ivl_page\"" inside)
if(NOT inside EQUAL -1)
  message(FATAL_ERROR "${PAGE}: expected a text without )ivl_page\", found one")
endif()
file(WRITE ${HEADER} "// Made of page.html by embed_page.cmake.
#pragma once

#include <string_view>

inline constexpr std::string_view page_html = R\"ivl_page(${page})ivl_page\";

inline constexpr std::string_view page_policy =
    \"default-src 'none'; script-src ${script}; style-src ${style}; img-src data:; connect-src 'self'; \"
    \"base-uri 'none'; form-action 'none'; frame-ancestors 'none'\";
")
