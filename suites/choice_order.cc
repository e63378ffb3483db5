#include "suites/choice_order.h"

#include "suites/seeded_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace quantfleet {

Status reorder_choices(TaskItem& item, const ChoiceOrder& order, std::uint64_t seed) {
  const auto bad = [&](std::string_view what) { return Error{Code::kBadValue, fmt::format("item '{}' (line {}): choice_order: {}", item.id, item.line, what)}; };
  nlohmann::json& fields = item.fields;
  std::vector<nlohmann::json> options;
  if (!order.list.empty()) {
    if (!fields.contains(order.list) || !fields[order.list].is_array()) return bad(fmt::format("'{}' must be a list", order.list));
    options.assign(fields[order.list].begin(), fields[order.list].end());
  }
  for (const std::string& name : order.fields) {
    if (!fields.contains(name)) return bad(fmt::format("there is no field '{}'", name));
    options.push_back(fields[name]);
  }
  const auto answer = fields.find(order.answer);
  if (answer == fields.end() || !(answer->is_string() || answer->is_number_integer())) return bad(fmt::format("'{}' must be a text or a number", order.answer));
  const std::string given = answer->is_string() ? answer->get<std::string>() : std::to_string(answer->get<std::int64_t>());
  std::size_t gold = options.size();
  if (order.labels.empty()) std::from_chars(given.data(), given.data() + given.size(), gold);
  else gold = static_cast<std::size_t>(std::find(order.labels.begin(), order.labels.end(), given) - order.labels.begin());
  if (gold >= options.size()) return bad(fmt::format("'{}' is '{}', which names none of {} options", order.answer, given, options.size()));

  // places[i] is the option that comes to place i.
  const std::vector<int> places = seeded_sample(static_cast<int>(options.size()), static_cast<int>(options.size()), -1, seed, item.id);
  for (std::size_t i = 0; i < options.size(); ++i) {
    const nlohmann::json& option = options[static_cast<std::size_t>(places[i])];
    if (order.list.empty()) fields[order.fields[i]] = option;
    else fields[order.list][i] = option;
  }
  const auto place = static_cast<std::size_t>(std::find(places.begin(), places.end(), static_cast<int>(gold)) - places.begin());
  if (!order.labels.empty()) fields[order.answer] = order.labels[place];
  else if (answer->is_string()) fields[order.answer] = std::to_string(place);
  else fields[order.answer] = place;
  return {};
}

}  // namespace quantfleet
