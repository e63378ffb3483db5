// What is wrong with a command line, in one sentence.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace quantfleet::cli {

// `app` has parsed the command line and thrown `error`. Unknown words come before what is missing because of them.
std::string usage_sentence(const CLI::App& app, const CLI::ParseError& error);

}  // namespace quantfleet::cli
