// quantfleet suites list | show NAME | verify | import NAME-or-TASK.yaml
#include "backends/formats/output_file.h"
#include "cli/commands.h"
#include "cli/suites_root.h"
#include "contract/error.h"
#include "suites/harness_task.h"
#include "suites/import.h"
#include "suites/suite.h"
#include "suites/task.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <system_error>

namespace quantfleet::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::filesystem::path root;
  std::string name;
  std::filesystem::path from, fewshot;
  std::string area = "knowledge";
  bool json = false, accept = false;
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
    const std::vector<std::string> waiting = names_of_not_imported(options.root);
    if (!waiting.empty())
      fmt::print("\nnot imported (quantfleet suites import NAME --from FOLDER): {}\n", fmt::join(waiting, ", "));
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

// The text of a task.yaml that a suite was just made of.
Task task_of(const Options& options, const std::string& name) {
  std::ifstream file(options.root / name / "task.yaml", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  auto task = parse_task_yaml(text, name);
  if (!task) throw BadResult(task.error());
  return std::move(*task);
}

// "accuracy (mean), perplexity (perplexity)"
std::string shown(const std::vector<Aggregation>& aggregation) {
  if (aggregation.empty()) return "all that the marks allow";
  std::vector<std::string> numbers;
  for (const Aggregation& one : aggregation) numbers.push_back(fmt::format("{} ({})", one.number, one.function));
  return fmt::format("{}", fmt::join(numbers, ", "));
}

int show(const Options& options) {
  const auto suite = find_suite(options.root, options.name);
  if (!suite) throw BadResult(suite.error());
  const Task task = task_of(options, options.name);
  const SuiteInfo& info = (*suite)->info();
  const auto first = (*suite)->request(0, "");
  if (!first) throw BadResult(first.error());
  if (options.json) {
    Json document = to_json(info);
    document["split"] = task.split;
    document["aggregation"] = Json::object();
    for (const Aggregation& one : task.aggregation) document["aggregation"][one.number] = one.function;
    document["overlaps"] = task.overlaps;
    document["folder"] = (options.root / options.name).string();
    document["first_item"] = (*suite)->item_id(0).value;
    document["first_request"] = shown(*first);
    fmt::print("{}\n", document.dump(2, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  fmt::print("suite    {} (version {})\narea     {}\nkind     {}\nsplit    {}\nitems    {}\nchance   {}\nnumbers  {}\nsha256   {}\nfolder   {}\n\nfirst item: {}\n{}", info.name,
             info.version, info.area, info.kind, task.split, info.items, info.kind == "rolling" ? "-" : fmt::format("{:.2f} %", 100 * info.chance), shown(task.aggregation), info.sha256,
             (options.root / options.name).string(), (*suite)->item_id(0).value, shown(*first));
  return 0;
}

// How many prompts each two suites have in common: what an area would count twice.
class SharedPrompts {
 public:
  void add(const std::string& suite, const Request& request) {
    const auto* choice = std::get_if<Loglikelihood>(&request);
    const auto* generate = std::get_if<Generate>(&request);
    const std::string& prompt = choice ? choice->context : generate ? generate->prompt : std::get<RollingLoglikelihood>(request).text;
    if (prompt.size() < 16) return;  // says nothing by itself
    std::vector<std::string>& seen = by_prompt_[std::hash<std::string>()(prompt)];
    for (const std::string& other : seen)
      if (other != suite) ++pairs_[{other, suite}];
    if (seen.empty() || seen.back() != suite) seen.push_back(suite);
  }
  const std::map<std::pair<std::string, std::string>, int>& pairs() const { return pairs_; }

 private:
  std::map<std::size_t, std::vector<std::string>> by_prompt_;
  std::map<std::pair<std::string, std::string>, int> pairs_;
};

int verify(const Options& options) {
  const auto suites = load_suites(options.root);
  if (!suites) throw BadResult(suites.error());
  Json all = Json::array();
  int items = 0;
  SharedPrompts shared;
  for (const auto& suite : *suites) {
    for (int i = 0; i < suite->size(); ++i) {
      const auto request = suite->request(i, "");
      if (!request) throw BadResult(request.error());
      shared.add(suite->info().name, *request);
    }
    items += suite->size();
    all.push_back(to_json(suite->info()));
  }
  if (options.json) fmt::print("{}\n", all.dump(2));
  else fmt::print("{} suites with {} items under {}: every file read, every item rendered.\n", suites->size(), items, options.root.string());
  if (!options.json)
    for (const auto& [pair, count] : shared.pairs()) fmt::print("overlap: {} and {} share {} prompts; an area with both counts them twice\n", pair.first, pair.second, count);
  return 0;
}

void write_suite_file(const std::filesystem::path& path, const std::string& text) {
  if (const Status written = write_file(path, text); !written)
    throw BadResult({written.error().code, written.error().detail + " (--root names another folder of suites)"});
}

// A task of lm-evaluation-harness becomes a folder of its own under the root.
int import_harness_task(const Options& options) {
  const auto task = read_harness_task(options.name, options.from, options.fewshot, options.area);
  if (!task) throw BadResult(task.error());
  const std::filesystem::path folder = options.root / task->name, making = options.root / ("." + task->name + ".making");
  std::error_code failure;
  if (std::filesystem::exists(folder, failure) && !options.accept)
    throw BadResult({Code::kUsage, fmt::format("{}: is there already; --accept replaces it", folder.string())});
  std::filesystem::remove_all(making, failure);
  std::filesystem::create_directories(making / task->name, failure);
  try {
    write_suite_file(making / task->name / "task.yaml", task->task_yaml);
    write_suite_file(making / task->name / "items.jsonl", task->items_jsonl);
    if (!task->fewshot_jsonl.empty()) write_suite_file(making / task->name / "fewshot.jsonl", task->fewshot_jsonl);
    const auto suite = load_suite(making / task->name);
    if (!suite) throw BadResult(suite.error());
    for (int i = 0; i < (*suite)->size(); ++i)
      if (const auto request = (*suite)->request(i, ""); !request) throw BadResult(request.error());
    std::filesystem::remove_all(folder, failure);
    std::filesystem::rename(making / task->name, folder);
    std::filesystem::remove_all(making, failure);
    if (options.json) {
      Json document = to_json((*suite)->info());
      document["no_effect"] = task->no_effect;
      fmt::print("{}\n", document.dump(2));
    } else {
      fmt::print("{}: {} items; fields without an effect on requests or scores: {}\n", task->name, task->count,
                 task->no_effect.empty() ? "none" : fmt::format("{}", fmt::join(task->no_effect, ", ")));
    }
  } catch (...) {
    std::filesystem::remove_all(making, failure);
    throw;
  }
  return 0;
}

int import_task(const Options& options) {
  if (options.name.ends_with(".yaml") || options.name.ends_with(".yml")) return import_harness_task(options);
  const std::filesystem::path folder = options.root / options.name;
  const bool plain = !options.name.empty() && options.name[0] != '.' && options.name.find('/') == std::string::npos;
  std::ifstream yaml(folder / "task.yaml", std::ios::binary);
  if (!plain || !yaml) {
    const std::vector<std::string> names = names_of_not_imported(options.root);
    throw BadResult({Code::kUnknownName, fmt::format("no task '{}' in {}; to import there {}: {}", options.name, options.root.string(), names.size() == 1 ? "is" : "are",
                                                     names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")))});
  }
  const std::string text{std::istreambuf_iterator<char>(yaml), {}};
  const auto task = parse_task_yaml(text, (folder / "task.yaml").string());
  if (!task) throw BadResult(task.error());
  if (!task->import) throw BadResult({Code::kUsage, fmt::format("{}: its items come with it, there is nothing to import", options.name)});
  const auto items = import_items(task->import->items, options.from, task->place);
  if (!items) throw BadResult(items.error());
  std::optional<ImportedItems> examples;
  if (task->import->few_shot) {
    std::error_code failure;  // of one file given by name the examples lie beside it
    const bool one_file = std::filesystem::is_regular_file(options.from, failure);
    auto imported = import_items(*task->import->few_shot, one_file ? options.from.parent_path() : options.from, task->place);
    if (!imported) throw BadResult(imported.error());
    examples = std::move(*imported);
  }
  for (const std::filesystem::path& file : items->files) {
    std::error_code failure;
    const bool one_file = std::filesystem::is_regular_file(options.from, failure);
    const std::string named = split_named_by(one_file ? file.filename() : file.lexically_relative(options.from));
    if (!named.empty() && named != task->split && task->split != "all" && !options.accept)
      throw BadResult({Code::kBadValue, fmt::format("{}: its name says split {}, {} asks items of split {}; --accept imports them all the same", file.string(), named,
                                                    options.name, task->split)});
  }
  const std::string& expected = task->import->sha256;
  const bool same = items->count == task->import->count && (expected.empty() || items->sha256 == expected);
  if (!same && !options.accept)
    throw BadResult({Code::kHashMismatch, fmt::format("{}: {} items{} were expected, these files give {} with the hash {}; --accept imports them all the same",
                                                      options.name, task->import->count, expected.empty() ? "" : " with the hash " + expected.substr(0, 12), items->count,
                                                      items->sha256.substr(0, 12))});
  if (examples) write_suite_file(folder / task->few_shot.items_file, examples->jsonl);
  write_suite_file(folder / task->items_file, items->jsonl);
  const auto suite = load_suite(folder);
  if (!suite) throw BadResult(suite.error());
  if (const auto first = (*suite)->request(0, ""); !first) throw BadResult(first.error());
  if (options.json) {
    Json document = to_json((*suite)->info());
    document["split"] = task->split;
    document["items_sha256"] = items->sha256;
    document["as_expected"] = same;
    fmt::print("{}\n", document.dump(2));
  } else {
    fmt::print("{}: {} items{}{} from {} file{}; hash {}{}\n", options.name, items->count, task->split == "all" ? "" : fmt::format(" of split {}", task->split), examples ? fmt::format(" and {} examples", examples->count) : "",
               items->files.size(), items->files.size() == 1 ? "" : "s", items->sha256.substr(0, 12), !same ? ": NOT the edition that the task means" : expected.empty() ? ", the published count (no hash is known)" : ", as published");
  }
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
    sub->add_flag("--json", options->json, fmt::format("one JSON document on stdout (docs/schemas/suites_{}.json)", name));
    sub->callback([action, run] { *action = run; });
    return sub;
  };
  add("list", "name, version, area, kind, items, chance and hash of every suite", [options] { return list(*options); });
  add("show", "one suite and its first request", [options] { return show(*options); })
      ->add_option("NAME", options->name, "name of the suite")->required();
  add("verify", "read every file and render every item", [options] { return verify(*options); });
  CLI::App* import = add("import", "take over the files of a public benchmark", [options] { return import_task(*options); });
  import->add_option("NAME", options->name, "name of the task, or a task.yaml of lm-evaluation-harness")->required();
  import->add_option("--fewshot", options->fewshot, "with a harness task: the file that its examples come from");
  import->add_option("--area", options->area, "with a harness task: the area that the new suite belongs to")
      ->check(CLI::IsMember({"reasoning", "coding", "math", "language", "knowledge", "safety", "text"}))->capture_default_str();
  import->add_option("--from", options->from, "the authors' file, or the folder that holds their files")->required();
  import->add_flag("--accept", options->accept, "also another edition than the one that the task means: other numbers than the published ones");
  return [action] { return (*action)(); };
}

}  // namespace quantfleet::cli
