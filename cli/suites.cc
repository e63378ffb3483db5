// quantfleet suites list | show NAME | verify | import NAME
#include "cli/commands.h"
#include "cli/suites_root.h"
#include "contract/error.h"
#include "suites/suite.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>

namespace quantfleet::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::filesystem::path root;
  std::string name;
  bool json = false;
};

Json to_json(const SuiteInfo& info) {
  return {{"name", info.name}, {"version", info.version}, {"area", info.area},     {"kind", info.kind},
          {"items", info.items}, {"chance", info.chance},  {"sha256", info.sha256}};
}

void print_table(const std::vector<std::shared_ptr<const Suite>>& suites) {
  std::size_t width = 5;
  for (const auto& suite : suites) width = std::max(width, suite->info().name.size());
  fmt::print("{:<{}}  {:<7}  {:<9}  {:<13}  {:>6}  {:>8}  {}\n", "suite", width, "version", "area", "kind", "items", "chance", "sha256");
  for (const auto& suite : suites) {
    const SuiteInfo& info = suite->info();
    fmt::print("{:<{}}  {:<7}  {:<9}  {:<13}  {:>6}  {:>8}  {}\n", info.name, width, info.version, info.area, info.kind, info.items,
               info.kind == "rolling" ? "-" : fmt::format("{:.1f} %", 100 * info.chance), info.sha256.substr(0, 12));
  }
}

int list(const Options& options) {
  const auto suites = load_suites(options.root);
  if (!suites) throw BadResult(suites.error());
  if (options.json) {
    Json all = Json::array();
    for (const auto& suite : *suites) all.push_back(to_json(suite->info()));
    fmt::print("{}\n", all.dump(2));
  } else {
    print_table(*suites);
  }
  return 0;
}

std::string shown(const Request& request) {
  if (const auto* choice = std::get_if<Loglikelihood>(&request)) {
    std::string text = choice->context + "\n";
    for (std::size_t i = 0; i < choice->continuations.size(); ++i) text += fmt::format("  {}: '{}'\n", i, choice->continuations[i]);
    return text;
  }
  if (const auto* rolling = std::get_if<RollingLoglikelihood>(&request)) {
    const bool cut = rolling->text.size() > 400;
    return fmt::format("{}{}\n  windows of {} tokens\n", rolling->text.substr(0, 400), cut ? "..." : "", rolling->context_tokens);
  }
  const auto& generate = std::get<Generate>(request);
  return fmt::format("{}\n  up to {} tokens, {} stop strings\n", generate.prompt, generate.tokens_max, generate.stop.size());
}

int show(const Options& options) {
  const auto suite = find_suite(options.root, options.name);
  if (!suite) throw BadResult(suite.error());
  const SuiteInfo& info = (*suite)->info();
  const auto first = (*suite)->request(0, "");
  if (!first) throw BadResult(first.error());
  if (options.json) {
    Json document = to_json(info);
    document["folder"] = (options.root / options.name).string();
    document["first_item"] = (*suite)->item_id(0).value;
    document["first_request"] = shown(*first);
    fmt::print("{}\n", document.dump(2, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  fmt::print("suite    {} (version {})\narea     {}\nkind     {}\nitems    {}\nchance   {}\nsha256   {}\nfolder   {}\n\nfirst item: {}\n{}", info.name,
             info.version, info.area, info.kind, info.items, info.kind == "rolling" ? "-" : fmt::format("{:.2f} %", 100 * info.chance), info.sha256,
             (options.root / options.name).string(), (*suite)->item_id(0).value, shown(*first));
  return 0;
}

int verify(const Options& options) {
  const auto suites = load_suites(options.root);
  if (!suites) throw BadResult(suites.error());
  Json all = Json::array();
  int items = 0;
  for (const auto& suite : *suites) {
    for (int i = 0; i < suite->size(); ++i)
      if (const auto request = suite->request(i, ""); !request) throw BadResult(request.error());
    items += suite->size();
    all.push_back(to_json(suite->info()));
  }
  if (options.json) fmt::print("{}\n", all.dump(2));
  else fmt::print("{} suites with {} items under {}: every file read, every item rendered.\n", suites->size(), items, options.root.string());
  return 0;
}

}  // namespace

std::function<int()> add_suites(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->root = default_suites_root();
  auto action = std::make_shared<std::function<int()>>();
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* summary, std::function<int()> run) {
    CLI::App* sub = app.add_subcommand(name, summary);
    sub->add_option("--root", options->root, "folder of suites (default: QUANTFLEET_SUITES, else the installed ones)");
    sub->add_flag("--json", options->json, "one JSON document on stdout");
    sub->callback([action, run] { *action = run; });
    return sub;
  };
  add("list", "name, version, area, kind, items, chance and hash of every suite", [options] { return list(*options); });
  add("show", "one suite and its first request", [options] { return show(*options); })
      ->add_option("NAME", options->name, "name of the suite")->required();
  add("verify", "read every file and render every item", [options] { return verify(*options); });
  CLI::App* import = add("import", "take over the files of a public benchmark (a later release)", []() -> int {
    throw BadResult({Code::kUnsupported, "importing public benchmark files comes with a later release; docs/adding-a-task.md shows how to write one"});
  });
  import->add_option("NAME", options->name, "name of the benchmark");
  import->add_option("--from", options->root, "its files");
  return [action] { return (*action)(); };
}

}  // namespace quantfleet::cli
