# cmake -D FAULT=... -D ROOT=... -D WORK=... -D CXX=... -D FLAGS=... -D TESTS=... -D LINK=... -P planted.cmake
# Plants one fault of a class that other engines had (a line of serve/ is replaced in a copy), and passes where the
# tests of the engine then fail. FAULT=none: where they pass.
cmake_policy(VERSION 3.25)
set(file "")

# planted(fault file old new): `old` stands in the file once.
macro(planted fault in old new)
  if(FAULT STREQUAL "${fault}")
    set(file "${in}")
    set(was "${old}")
    set(becomes "${new}")
  endif()
endmacro()

planted(other_picture_cached serve/sequence.ipp "    hash.add(std::as_bytes(std::span(span.key)));" "")
planted(other_place_cached serve/sequence.ipp "  hash_tokens(hash, page * kv_page_tokens, begin);" "")
planted(other_shape_cached image/picture.ipp "{picture.size_.width, picture.size_.height, rules.tile_px" "{rules.tile_px")
planted(other_salt_cached serve/sequence.ipp "    hash.add(request_.cache_salt);" "")
planted(taken_while_used serve/feature_pool.ipp "if (entry->second.features.use_count() > 1) continue;" "")
planted(kept_when_interrupted serve/engine_room.ipp "  sequence.pages_.clear();" "")
planted(waiting_holds_rows serve/engine_room.ipp "    assert(!running_.empty());  // alone, every prompt that `start` takes has room\n    give_back(sequence);" "")
planted(too_large_waits serve/engine.ipp "if (rows > room_.feature_rows)" "if (false)")
planted(cancelled_keeps_pages serve/engine.ipp "  sequence.finish_ = finish;\n  give_back(sequence);" "  sequence.finish_ = finish;\n  if (finish != Finish::cancelled) give_back(sequence);")
planted(interrupted_for_ever serve/engine_room.ipp "if (candidate->may_give_way()" "if (candidate->uses_cache()")
planted(overtaken_for_ever serve/engine_room.ipp "waiting.overtaken_ < 8 && " "")
planted(draws_by_company serve/scheduler.ipp "sequence.next_draw(ahead)" "sequence.next_draw(index)")
planted(wrong_guess_kept serve/engine.ipp "id != sequence.drafts_[std::size_t(right)]" "false")
planted(half_seen_used serve/sequence.ipp "if (span.features && !span.features->whole()) return span.begin + span.features->seen * span.features->tile_rows;" "")

file(REMOVE_RECURSE ${WORK}/${FAULT})
file(MAKE_DIRECTORY ${WORK}/${FAULT}/ivl)
if(NOT FAULT STREQUAL none)
  if(NOT file)
    message(FATAL_ERROR "planted: there is no fault ${FAULT}")
  endif()
  file(READ ${ROOT}/include/ivl/${file} text)
  string(FIND "${text}" "${was}" first)
  string(FIND "${text}" "${was}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "planted: expected in ${file} once: ${was}")
  endif()
  string(REPLACE "${was}" "${becomes}" text "${text}")
  get_filename_component(folder ${file} DIRECTORY)
  file(MAKE_DIRECTORY ${WORK}/${FAULT}/ivl/${folder})
  file(WRITE ${WORK}/${FAULT}/ivl/${file} "${text}")
endif()

# The bodies of serve/ and pictures, the planted file first; the library has all others, and these too.
set(unit "")
foreach(body IN ITEMS image/picture serve/engine serve/engine_pace serve/engine_room serve/feature_pool serve/kv_pool
                      serve/scheduler serve/sequence serve/service)
  string(APPEND unit "#include \"ivl/${body}.ipp\"\n")
endforeach()
file(WRITE ${WORK}/${FAULT}/bodies.cpp "${unit}")
separate_arguments(FLAGS)
execute_process(COMMAND ${CXX} -std=gnu++20 -O1 -DIVL_COMPILED -I${WORK}/${FAULT} -I${ROOT}/include ${FLAGS}
                        ${WORK}/${FAULT}/bodies.cpp ${TESTS} -Wl,--allow-multiple-definition ${LINK}
                        -o ${WORK}/${FAULT}/engine_test COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/${FAULT}/engine_test TIMEOUT 60 RESULT_VARIABLE result OUTPUT_VARIABLE output
                ERROR_VARIABLE output)
if(FAULT STREQUAL none AND NOT result EQUAL 0)
  message(FATAL_ERROR "planted: without a fault, the tests fail:\n${output}")
endif()
if(NOT FAULT STREQUAL none AND result EQUAL 0)
  message(FATAL_ERROR "planted: nobody noticed ${FAULT}")
endif()
