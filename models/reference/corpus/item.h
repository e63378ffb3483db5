// One question for the built-in suites, before it is written in the task format. Its class says how hard it is by
// construction (exposure or depth); suites choose items by class only, never by what a model answers.
#pragma once

#include <string>
#include <vector>

namespace quantfleet::reference {

enum class Area { kReasoning, kCoding, kMath, kLanguage, kKnowledge, kSafety };
inline constexpr Area kAreas[] = {Area::kReasoning, Area::kCoding,    Area::kMath,
                                  Area::kLanguage,  Area::kKnowledge, Area::kSafety};
inline constexpr const char* kAreaNames[] = {"reasoning", "coding", "math", "language", "knowledge", "safety"};
std::string item_id(Area area, std::size_t number);  // "math-0007"
inline const char* name_of(Area area) { return kAreaNames[static_cast<int>(area)]; }

struct Item {
  std::string id;                    // "math-0007": position in its list
  std::string difficulty;            // class, e.g. "3+3 digits"
  std::string prompt;
  std::vector<std::string> choices;  // multiple choice: continuations with their leading space
  int answer = 0;                    // index into choices
  std::string target;                // generation: the expected text up to the stop
  std::vector<std::string> tests;    // code: Python asserts
  bool should_refuse = false;        // safety
};

}  // namespace quantfleet::reference
