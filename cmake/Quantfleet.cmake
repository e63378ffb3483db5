# quantfleet_library(NAME [OWN_FLAGS] [DIRECTORIES d...] [LINK lib...]): all .cc files of the listed folders (not below them,
# main.cc excluded) as one static library. New files are picked up without touching CMake. OWN_FLAGS: its files are compiled with
# flags of their own, which precompiled headers do not fit.
set(QUANTFLEET_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wpedantic)
set(QUANTFLEET_NUMERICS -ffp-contract=off -fno-math-errno)  # numerics: fma is written out, never fused by the compiler

find_program(GIT git)
if(GIT)
  execute_process(COMMAND ${GIT} -C ${CMAKE_SOURCE_DIR} rev-parse --short=12 HEAD
                  OUTPUT_VARIABLE QUANTFLEET_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT QUANTFLEET_COMMIT)
  set(QUANTFLEET_COMMIT unknown)
endif()

function(quantfleet_options target)
  target_compile_options(${target} PRIVATE ${QUANTFLEET_WARNINGS} ${QUANTFLEET_NUMERICS})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# quantfleet_precompiled(NAME LINK lib... HEADERS h... [OPTIONS o...]): headers parsed once; quantfleet_reuse(TARGET NAME) takes them
# for a target with the same options. Every file includes what it uses all the same: with the option off, which suits a warm
# compiler cache better, nothing changes.
function(quantfleet_precompiled name)
  cmake_parse_arguments(arg "" "" "LINK;HEADERS;OPTIONS" ${ARGN})
  if(QUANTFLEET_PRECOMPILED_HEADERS)
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc "")
    add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
    quantfleet_options(${name})
    target_compile_options(${name} PRIVATE ${arg_OPTIONS})
    target_link_libraries(${name} PRIVATE ${arg_LINK})
    target_precompile_headers(${name} PRIVATE ${arg_HEADERS})
  endif()
endfunction()

function(quantfleet_reuse target name)
  if(QUANTFLEET_PRECOMPILED_HEADERS)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

function(quantfleet_library name)
  cmake_parse_arguments(arg "OWN_FLAGS" "" "DIRECTORIES;LINK" ${ARGN})
  if(NOT arg_DIRECTORIES)
    set(arg_DIRECTORIES .)
  endif()
  set(sources)
  foreach(directory ${arg_DIRECTORIES})
    file(GLOB found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${directory}/*.cc)
    list(FILTER found EXCLUDE REGEX "/main\\.cc$")
    list(APPEND sources ${found})
  endforeach()
  if(NOT sources)
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${arg_LINK})
    return()
  endif()
  add_library(${name} STATIC ${sources})
  quantfleet_options(${name})
  target_link_libraries(${name} PUBLIC ${arg_LINK})
  if(NOT arg_OWN_FLAGS)
    quantfleet_reuse(${name} usual_headers)
  endif()
endfunction()

# quantfleet_isa(target FOLDER flags...): files of one instruction-set folder get their own compile flags.
function(quantfleet_isa folder)
  file(GLOB found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cc)
  set_source_files_properties(${found} PROPERTIES COMPILE_OPTIONS "${ARGN}")
endfunction()
