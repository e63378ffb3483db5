// Instructions that a program can verify: 25 kinds, each a function of the response alone.
//   accuracy                 1 when all instructions of the prompt are followed (strict)
//   accuracy_loose           the same for the best of eight variants of the response: with and without its first line, its last line,
//                            and its asterisks
//   instructions             how many the prompt has;  instructions_strict, instructions_loose: how many of them are followed
// Over a suite the instruction level is the ratio of sums (reports/tables/aggregates.h). An empty response follows nothing.
// Fields that the item must have: `instruction_id_list` (list of names) and `kwargs` (list of their arguments, in order).
// Source: IFEval (Zhou et al. 2023); EleutherAI lm-evaluation-harness, ifeval. Two parts rest on our own models of language instead of
// langdetect (suites/scorers/language.h) and of NLTK's trained tables (suites/scorers/sentences.h).
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_instructions(const ScorerSpec& spec, const Task& task);

// Whether `response` follows one instruction. kUnknownName, kBadValue (arguments).
Result<bool> follows(const std::string& instruction, const nlohmann::json& arguments, const std::string& response);
std::vector<std::string> loose_variants(const std::string& response);  // eight

}  // namespace quantfleet
