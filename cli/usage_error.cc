#include "cli/usage_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace quantfleet::cli {
namespace {

// Insertions, deletions, replacements and swaps of neighbours that make `a` into `b` (optimal string alignment).
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i)
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

// " (did you mean NAME?)", or nothing where no name is close.
std::string suggestion(std::string_view word, const std::vector<std::string>& names) {
  constexpr std::size_t kLongestWord = 40;
  if (word.size() > kLongestWord) return "";
  std::size_t fewest = std::min<std::size_t>(2, word.size() / 3) + 1;
  std::string nearest;
  for (const std::string& name : names)
    if (const std::size_t count = edits(word, name); count < fewest) fewest = count, nearest = name;
  return nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest);
}

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App* one) { return !one->get_name().empty(); })) names.push_back(sub->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// The first word that `app` or the commands below it did not know.
std::string unknown_word(const CLI::App& app, const std::string& command) {
  if (const std::vector<std::string> words = app.remaining(); !words.empty()) {
    const std::string &word = words.front(), place = command.empty() ? "" : command + ": ";
    if (word.starts_with("-") && word != "-") return fmt::format("{}there is no option {}{}", place, word, suggestion(word.substr(0, word.find('=')), options_of(app)));
    if (const std::vector<std::string> names = commands_of(app); !names.empty())
      return fmt::format("{}there is no command '{}'{}", place, word, suggestion(word, names));
    return fmt::format("{}one argument too many: '{}'", place, word);
  }
  for (const CLI::App* sub : app.get_subcommands())
    if (std::string found = unknown_word(*sub, command.empty() ? sub->get_name() : command + " " + sub->get_name()); !found.empty()) return found;
  return "";
}

}  // namespace

std::string usage_sentence(const CLI::App& app, const CLI::ParseError& error) {
  if (std::string unknown = unknown_word(app, ""); !unknown.empty()) return unknown;
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  if (error.get_name() == "RequiredError" && !commands_of(*command).empty())
    return fmt::format("{}a command is needed; --help lists them", command == &app ? "" : command->get_name() + ": ");
  std::string sentence = error.what();
  std::replace(sentence.begin(), sentence.end(), '\n', ' ');
  return sentence;
}

}  // namespace quantfleet::cli
