# Completes dependencies.cmake for ivl's own build: finds what our programs need on top of the library, and fetches what
# is missing at a pinned version. The versions are Debian 12's.
option(IVL_FETCH "Download libraries that are not installed" ${PROJECT_IS_TOP_LEVEL})

if(IVL_TESTS)
  find_package(doctest 2.4 QUIET CONFIG)
  if(NOT doctest_FOUND)
    list(APPEND ivl_missing doctest)
  endif()
endif()
if(IVL_EXAMPLES OR IVL_BENCH)
  find_package(CLI11 2.1 QUIET CONFIG)
  if(NOT CLI11_FOUND)
    list(APPEND ivl_missing CLI11)
  endif()
endif()

set(ivl_fetched ${ivl_missing})
if(NOT ivl_missing)
  return()
endif()

set(debian_nlohmann_json nlohmann-json3-dev)
set(debian_pcre2 libpcre2-dev)
set(debian_utf8proc libutf8proc-dev)
set(debian_stb libstb-dev)
set(debian_doctest doctest-dev)
set(debian_CLI11 libcli11-dev)
set(packages "")
foreach(name IN LISTS ivl_missing)
  list(APPEND packages ${debian_${name}})
endforeach()
list(JOIN ivl_missing ", " names)
list(JOIN packages " " packages)
if(NOT IVL_FETCH)
  message(FATAL_ERROR "ivl needs ${names}: install them (Debian, Ubuntu: ${packages}), or let CMake download them with "
                      "-D IVL_FETCH=ON")
endif()
message(STATUS "downloading ${names}, which are not installed (Debian, Ubuntu: ${packages})")

include(FetchContent)
set(github https://github.com)
FetchContent_Declare(nlohmann_json SYSTEM
  URL ${github}/nlohmann/json/archive/refs/tags/v3.11.2.tar.gz
  URL_HASH SHA256=d69f9deb6a75e2580465c6c4c5111b89c4dc2fa94e3a85fcd2ffcd9a143d9273)
FetchContent_Declare(pcre2 SYSTEM
  URL ${github}/PCRE2Project/pcre2/releases/download/pcre2-10.42/pcre2-10.42.tar.gz
  URL_HASH SHA256=c33b418e3b936ee3153de2c61cc638e7e4fe3156022a5c77d0711bcbb9d64f1f)
FetchContent_Declare(utf8proc SYSTEM
  URL ${github}/JuliaStrings/utf8proc/archive/refs/tags/v2.8.0.tar.gz
  URL_HASH SHA256=a0a60a79fe6f6d54e7d411facbfcc867a6e198608f2cd992490e46f04b1bcecc)
FetchContent_Declare(stb SYSTEM
  URL https://raw.githubusercontent.com/nothings/stb/8b5f1f37b5b75829fc72d38e7b5d4bcbf8a26d55/stb_image.h
  URL_HASH SHA256=91f435e0fc6a620018b878b9859c74dff60d28046f87e649191ad6f35a98c722
  DOWNLOAD_NO_EXTRACT ON
  SOURCE_DIR ${FETCHCONTENT_BASE_DIR}/stb-include/stb)  # it is included as <stb/stb_image.h>
FetchContent_Declare(doctest SYSTEM
  URL ${github}/doctest/doctest/archive/refs/tags/v2.4.9.tar.gz
  URL_HASH SHA256=19b2df757f2f3703a5e63cee553d85596875f06d91a3333acd80a969ef210856)
FetchContent_Declare(CLI11 SYSTEM
  URL ${github}/CLIUtils/CLI11/archive/refs/tags/v2.1.2.tar.gz
  URL_HASH SHA256=26291377e892ba0e5b4972cdfd4a2ab3bf53af8dac1f4ea8fe0d1376b625c8cb)

# In a function, so that these settings reach only what is fetched.
function(ivl_fetch)
  set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)   # old projects, too, listen to the variables below
  set(CMAKE_POLICY_DEFAULT_CMP0135 NEW)   # files get the time of their extraction
  set(CMAKE_POLICY_VERSION_MINIMUM 3.5)   # CMake 4 refuses the older minimum of some
  set(CMAKE_WARN_DEPRECATED OFF)
  set(BUILD_SHARED_LIBS OFF)
  set(JSON_BuildTests OFF)
  set(PCRE2_SUPPORT_JIT ON)
  set(PCRE2_SHOW_REPORT OFF)
  set(PCRE2_BUILD_PCRE2GREP OFF)
  set(PCRE2_BUILD_TESTS OFF)
  set(DOCTEST_WITH_TESTS OFF)
  set(CLI11_BUILD_TESTS OFF)
  set(CLI11_BUILD_EXAMPLES OFF)
  set(CLI11_BUILD_DOCS OFF)
  FetchContent_MakeAvailable(${ivl_missing})

  if(stb IN_LIST ivl_missing)
    add_library(ivl_stb INTERFACE)
    add_library(ivl::stb ALIAS ivl_stb)
    target_include_directories(ivl_stb SYSTEM INTERFACE ${stb_SOURCE_DIR}/..)
  endif()
  if(pcre2 IN_LIST ivl_missing)
    add_library(ivl_pcre2 INTERFACE)
    add_library(ivl::pcre2 ALIAS ivl_pcre2)
    target_include_directories(ivl_pcre2 SYSTEM INTERFACE ${pcre2_BINARY_DIR})
    target_link_libraries(ivl_pcre2 INTERFACE pcre2-8-static)
  endif()
  if(utf8proc IN_LIST ivl_missing)
    add_library(ivl_utf8proc INTERFACE)
    add_library(ivl::utf8proc ALIAS ivl_utf8proc)
    target_link_libraries(ivl_utf8proc INTERFACE utf8proc)
  endif()
endfunction()
ivl_fetch()
