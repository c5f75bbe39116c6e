# cmake -D ROOT=... -P check.cmake: greps the include lines of include/ivl and kernels/ivl against who may include whom.
# The rules are docs/design.md's; a folder that has no line here is an error. Files right in include/ivl may include all
# but CUDA.
set(rules
  "core:       core"
  "facts:      core facts"
  "config:     core facts config"
  "files:      core files"
  "formats:    core formats"
  "image:      core facts image"
  "text:       core files text"
  "ops:        core facts formats image ops"
  "cpu:        core facts formats image ops cpu"
  "cuda:       core facts formats image ops cuda"
  "counting:   core facts formats image ops counting"
  "parallel:   core facts ops config parallel"
  "vision:     core facts formats ops config vision"
  "projector:  core facts formats ops config projector"
  "language:   core facts formats ops config language"
  "checkpoint: core facts files formats config ops checkpoint"
  "model:      core facts files formats config image text ops counting vision projector language checkpoint model"
  "testing:    core facts files formats config image ops checkpoint testing"
  "serve:      core facts image text ops model serve"
  "http:       core http"
  "openai:     core facts files image text model serve http openai")
set(served prompt.hpp processor.hpp step.hpp)  # of model, all that serve and openai may include: they know no config and no backend
set(layers vision projector language)  # the backend arrives as a template parameter, so no #if in these

cmake_policy(VERSION 3.25)
set(all "")
foreach(rule IN LISTS rules)
  string(REGEX MATCH "^([a-z]+): *(.*)$" _ "${rule}")
  set(folder ${CMAKE_MATCH_1})
  string(REPLACE " " ";" allowed_${folder} "${CMAKE_MATCH_2}")
  if(NOT folder STREQUAL cuda)
    list(APPEND all ${folder})
  endif()
endforeach()

set(broken "")
macro(report line rule)
  string(APPEND broken "  ${tree}/ivl/${file}: ${line}\n      ${rule}\n")
endmacro()

foreach(tree include kernels)
  file(GLOB_RECURSE files RELATIVE ${ROOT}/${tree}/ivl ${ROOT}/${tree}/ivl/*.hpp ${ROOT}/${tree}/ivl/*.ipp
                          ${ROOT}/${tree}/ivl/*.cuh)
  foreach(file IN LISTS files)
    string(REGEX REPLACE "/.*" "" folder ${file})
    if(NOT file MATCHES "/")
      set(folder "include/ivl")
      set(allowed ${all})
    elseif(NOT DEFINED allowed_${folder})
      report("" "the folder ${folder} has no rule in tests/layering/check.cmake")
      continue()
    else()
      set(allowed ${allowed_${folder}})
    endif()

    if(tree STREQUAL kernels)
      file(STRINGS ${ROOT}/${tree}/ivl/${file} untagged REGEX "^namespace ivl::cuda([ :]|$)")
      foreach(line IN LISTS untagged)
        report("${line}" "the backend lies in ivl::IVL_CUDA, see ivl/cuda/tag.hpp")
      endforeach()
    endif()

    string(REGEX REPLACE "[.]hpp$" "(_[a-z]+)?[.]ipp" own_bodies ${file})  # x.ipp, and x_part.ipp where there is much
    file(STRINGS ${ROOT}/${tree}/ivl/${file} lines REGEX "^[ \t]*#[ \t]*(include|if)")
    foreach(line IN LISTS lines)
      if(line MATCHES "^[ \t]*#[ \t]*if")
        if(folder IN_LIST layers)
          report("${line}" "a layer has no #if: the backend is a template parameter")
        endif()
      elseif(line MATCHES "[\"<]ivl/(([a-z0-9_]+)/)?([^\">]+)[\">]")
        set(target "${CMAKE_MATCH_2}")
        set(name "${CMAKE_MATCH_3}")
        if(NOT EXISTS ${ROOT}/include/ivl/${CMAKE_MATCH_1}${CMAKE_MATCH_3}
           AND NOT EXISTS ${ROOT}/kernels/ivl/${CMAKE_MATCH_1}${CMAKE_MATCH_3})
          report("${line}" "there is no such header")
        elseif(tree STREQUAL include AND line MATCHES "\\.cuh")
          report("${line}" "nothing in include/ may need CUDA")
        elseif(name MATCHES "[.]ipp$" AND NOT file MATCHES "^definitions" AND NOT "${target}/${name}" MATCHES "^${own_bodies}$")
          report("${line}" "bodies (.ipp) are included by their own header and definitions*.ipp alone")
        elseif(NOT target IN_LIST allowed AND NOT (file STREQUAL definitions.ipp AND name MATCHES "^definitions_"))
          list(JOIN allowed ", " names)
          report("${line}" "${folder} may include only ${names}")
        elseif(folder MATCHES "^(serve|openai)$" AND target STREQUAL model AND NOT name IN_LIST served)
          list(JOIN served ", " names)
          report("${line}" "of model, ${folder} may include only ${names}")
        endif()
      elseif(line MATCHES "\"")
        report("${line}" "our headers are included as \"ivl/folder/name.hpp\"")
      endif()
    endforeach()
  endforeach()
endforeach()
if(broken)
  message(FATAL_ERROR "includes that break the layering:\n${broken}")
endif()
