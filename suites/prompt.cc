#include "suites/prompt.h"

#include "suites/seeded_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace quantfleet {

Result<PromptBuilder> PromptBuilder::make(const Task& task) {
  PromptBuilder builder;
  builder.task_ = &task;
  const auto compile = [&](const std::string& source, std::string_view key, std::optional<Template>& into) -> Status {
    auto parsed = Template::parse(source, fmt::format("{}, {}", task.place, key));
    if (!parsed) return parsed.error();
    into = std::move(*parsed);
    return {};
  };
  if (const Status status = compile(task.prompt, "prompt", builder.prompt_); !status) return status.error();
  if (!task.preamble.empty())
    if (const Status status = compile(task.preamble, "preamble", builder.preamble_); !status) return status.error();
  if (!task.target.empty())
    if (const Status status = compile(task.target, "target", builder.target_); !status) return status.error();
  if (!task.target_index.empty())
    if (const Status status = compile(task.target_index, "target_index", builder.target_index_); !status) return status.error();
  if (!task.group.empty())
    if (const Status status = compile(task.group, "group", builder.group_); !status) return status.error();
  const auto compile_all = [&](const std::vector<std::string>& sources, std::string_view key, std::vector<Template>& into) -> Status {
    for (const std::string& source : sources) {
      std::optional<Template> compiled;
      if (const Status status = compile(source, key, compiled); !status) return status;
      into.push_back(std::move(*compiled));
    }
    return {};
  };
  if (const Status status = compile_all(task.choices, "choices", builder.choices_); !status) return status.error();
  if (const Status status = compile_all(task.contexts, "contexts", builder.contexts_); !status) return status.error();
  return builder;
}

Result<AskedItem> PromptBuilder::ask(const TaskItem& item) const {
  const auto bad = [&](std::string_view what) {
    return Error{Code::kBadValue, fmt::format("{}, item '{}' (line {}): {}", task_->place, item.id, item.line, what)};
  };
  const auto in_item = [&](const Error& error) {
    return Error{error.code, fmt::format("{} (item '{}', line {})", error.detail, item.id, item.line)};
  };
  AskedItem asked;
  auto question = prompt_->render(item.fields);
  if (!question) return in_item(question.error());
  asked.question = std::move(*question);
  if (target_) {
    auto target = target_->render(item.fields);
    if (!target) return in_item(target.error());
    asked.target = std::move(*target);
  }
  if (task_->kind != TaskKind::kLoglikelihood) return asked;

  if (choices_.empty() && task_->choices_field.empty()) {  // the target alone
    if (asked.target.empty()) return bad("'target' is empty");
    asked.choices = {asked.target};
    asked.gold = 0;
    asked.golds = {0};
    return asked;
  }
  if (choices_.empty()) {
    const auto field = item.fields.find(task_->choices_field);
    if (field == item.fields.end() || !field->is_array() || field->size() < 2 || field->size() > 1000)
      return bad(fmt::format("field '{}' must be a list of 2 to 1000 strings", task_->choices_field));
    for (const auto& choice : *field) {
      if (!choice.is_string()) return bad(fmt::format("field '{}' must hold strings only", task_->choices_field));
      asked.choices.push_back(choice.get<std::string>());
    }
  }
  for (const Template& choice : choices_) {
    auto text = choice.render(item.fields);
    if (!text) return in_item(text.error());
    asked.choices.push_back(std::move(*text));
  }
  for (const std::string& choice : asked.choices)
    if ((task_->target_delimiter + choice).empty()) return bad("a choice is empty");
  for (const Template& context : contexts_) {
    auto text = context.render(item.fields);
    if (!text) return in_item(text.error());
    asked.contexts.push_back(std::move(*text));
  }
  if (target_index_) {
    auto rendered = target_index_->render(item.fields);
    if (!rendered) return in_item(rendered.error());
    const nlohmann::json indices = nlohmann::json::parse(*rendered, nullptr, false);  // a number, or a list of them
    const auto fits = [&](const nlohmann::json& one) {
      return one.is_number_integer() && one.get<std::int64_t>() >= 0 && one.get<std::int64_t>() < static_cast<std::int64_t>(asked.choices.size());
    };
    const bool list = indices.is_array() && !indices.empty();
    if (!(list ? std::all_of(indices.begin(), indices.end(), fits) : fits(indices)))
      return bad(fmt::format("target_index is '{}', expected 0 to {}", *rendered, asked.choices.size() - 1));
    if (list) asked.golds = indices.get<std::vector<int>>();
    else asked.golds = {indices.get<int>()};
    asked.gold = asked.golds.front();
    asked.target = asked.choices[static_cast<std::size_t>(asked.gold)];
  } else {
    if (std::count(asked.choices.begin(), asked.choices.end(), asked.target) != 1)
      return bad(fmt::format("target '{}' must equal exactly one of the {} choices", asked.target, asked.choices.size()));
    asked.gold = static_cast<int>(std::find(asked.choices.begin(), asked.choices.end(), asked.target) - asked.choices.begin());
    asked.golds = {asked.gold};
  }
  if (!asked.contexts.empty()) asked.question = asked.contexts[static_cast<std::size_t>(asked.gold)];
  return asked;
}

Result<std::string> PromptBuilder::group(const TaskItem& item) const {
  if (!group_) return std::string();
  return group_->render(item.fields);
}

std::vector<int> PromptBuilder::examples_for(int index, const TaskItem& item) const {
  const FewShot& few_shot = task_->few_shot;
  const bool own_items = few_shot.items_file.empty();
  const int pool = static_cast<int>(own_items ? task_->items.size() : task_->few_shot_items.size());
  const int excluded = own_items ? index : -1;
  if (few_shot.count == 0) return {};
  if (few_shot.sampler == FewShot::Sampler::kRandom) return seeded_sample(pool, few_shot.count, excluded, few_shot.seed, item.id);
  const auto fits = [&](int example) {
    if (few_shot.same.empty()) return true;
    const auto& other = task_->few_shot_items[static_cast<std::size_t>(example)].fields;
    return item.fields.contains(few_shot.same) && other.contains(few_shot.same) && item.fields[few_shot.same] == other[few_shot.same];
  };
  std::vector<int> first;
  for (int i = 0; i < pool && static_cast<int>(first.size()) < few_shot.count; ++i)
    if (i != excluded && fits(i)) first.push_back(i);
  return first;
}

Result<std::string> PromptBuilder::prompt(int index, const TaskItem& item, const std::string& question, const std::string& chat_template, bool& used_chat) const {
  std::string text;
  if (preamble_) {
    auto preamble = preamble_->render(item.fields);
    if (!preamble) return preamble.error();
    text = std::move(*preamble);
  }
  for (int example : examples_for(index, item)) {
    const auto at = static_cast<std::size_t>(example);
    auto solved = ask(task_->few_shot.items_file.empty() ? task_->items[at] : task_->few_shot_items[at]);
    if (!solved) return solved.error();
    text += solved->question + task_->target_delimiter + solved->target + task_->few_shot.delimiter;
  }
  text += question;
  used_chat = task_->chat && !chat_template.empty();
  if (!used_chat) return text;
  auto chat = Template::parse(chat_template, "the model's chat template", kChatTemplateOptions);
  if (!chat) return chat.error();
  // The engine adds BOS itself; one user message needs no EOS.
  const nlohmann::json variables = {{"messages", {{{"role", "user"}, {"content", text}}}},
                                    {"add_generation_prompt", true},
                                    {"bos_token", ""},
                                    {"eos_token", ""}};
  return chat->render(variables);
}

}  // namespace quantfleet
