// The Jinja subset. Expected texts follow the documentation of Jinja 3.1 (and Python for values).
#include "suites/template/template.h"

#include "tests/paths.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>

using namespace quantfleet;
using nlohmann::json;

namespace {

std::string rendered(std::string_view source, const json& variables = json::object(), const TemplateOptions& options = {}) {
  auto parsed = Template::parse(source, "t", options);
  if (!parsed) return "parse: " + parsed.error().detail;
  auto text = parsed->render(variables);
  return text ? *text : "render: " + text.error().detail;
}

}  // namespace

TEST_CASE("expressions print as Python prints them", "[template]") {
  CHECK(rendered("a{{ 1 + 2 * 3 }}b") == "a7b");
  CHECK(rendered("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }}") == "3 -4 2 3.5 1024");
  CHECK(rendered("{{ 4 / 2 }}") == "2.0");
  CHECK(rendered("{{ true }} {{ none }} {{ [1, 'a'] }} {{ {'k': 1} }}") == "True None [1, 'a'] {'k': 1}");
  CHECK(rendered("{{ 'a' ~ 1 ~ \"b\" }}") == "a1b");
  CHECK(rendered("{{ 'x' * 3 }}{{ 'a' 'b' }}") == "xxxab");
  CHECK(rendered("{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }}") == "True False");
  CHECK(rendered("{{ 'b' if x else 'c' }}", {{"x", 0}}) == "c");
  CHECK(rendered("{{ not a and b or c }}", {{"a", true}, {"b", true}, {"c", "z"}}) == "z");
  CHECK(rendered("{{ 'el' in 'hello' }} {{ 3 not in [1, 2] }} {{ 'k' in d }}", {{"d", {{"k", 1}}}}) == "True True True");
  CHECK(rendered("{{ {'a': {'b': 2}}.a.b }}{{ {'a': {'b': 2}}['a']['b'] }}") == "22");
}

TEST_CASE("strings are indexed and sliced by character", "[template]") {
  const json variables = {{"s", "naïve"}, {"l", {1, 2, 3, 4}}};
  CHECK(rendered("{{ s[2] }}{{ s[-1] }} {{ s[1:3] }} {{ s[::-1] }} {{ s | length }}", variables) == "ïe aï evïan 5");
  CHECK(rendered("{{ l[1:] }} {{ l[:-1] }} {{ l[::2] }} {{ l[3:0:-1] }} {{ l[-99:99] }}", variables) ==
        "[2, 3, 4] [1, 2, 3] [1, 3] [4, 3, 2] [1, 2, 3, 4]");
}

TEST_CASE("filters, tests and methods", "[template]") {
  CHECK(rendered("{{ '  a ' | trim | upper }}{{ 'aB c' | capitalize }}{{ 'aB c' | title }}") == "AAb cAb C");
  CHECK(rendered("{{ [1, 2] | join(', ') }} {{ x | default('none') }} {{ '' | default('e', true) }}") == "1, 2 none e");
  CHECK(rendered("{{ 'aXbX' | replace('X', '-') }} {{ [3, 1, 2] | sort | first }} {{ [3, 1] | last }}") == "a-b- 1 1");
  CHECK(rendered("{{ {'b': [1, 2.5], 'a': 'é\"'} | tojson }}") == "{\"a\": \"é\\\"\", \"b\": [1, 2.5]}");
  CHECK(rendered("{{ [1] | tojson(indent=2) }}") == "[\n  1\n]");
  CHECK(rendered("{{ x is defined }} {{ 1 is number }} {{ 's' is not string }} {{ none is none }}") == "False True False True");
  CHECK(rendered("{{ 'a,b'.split(',')[-1] }} {{ ' x '.strip() }} {{ 'abc'.startswith('ab') }}") == "b x True");
  CHECK(rendered("{{ ['a', 'b', 'b'].index('b') }} {{ ['a', 'b', 'b'].count('b') }} {{ [1, 'x'].count(2) }}") == "1 2 0");
  CHECK(rendered("{{ ['a'].index('b') }}").find("the list does not hold the value") != std::string::npos);
  CHECK(rendered("{{ -3 | abs }} {{ '12' | int + 1 }} {{ 2.567 | round(1) }}") == "3 13 2.6");
  CHECK(rendered("{{ [{'n': 1}, {'n': 2}] | map(attribute='n') | list }}") == "[1, 2]");
  CHECK(rendered("{{ ([{'r': 'u'}, {'r': 's'}] | selectattr('r', 'equalto', 's') | list) | length }}") == "1");
}

TEST_CASE("statements: if, for, set, namespace", "[template]") {
  CHECK(rendered("{% if a %}1{% elif b %}2{% else %}3{% endif %}", {{"a", 0}, {"b", 1}}) == "2");
  CHECK(rendered("{% for x in [1, 2, 3] %}{{ loop.index }}{{ '' if loop.last else ',' }}{% endfor %}") == "1,2,3");
  CHECK(rendered("{% for x in [] %}a{% else %}empty{% endfor %}") == "empty");
  CHECK(rendered("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", {{"d", {{"a", 1}, {"b", 2}}}}) == "a=1;b=2;");
  CHECK(rendered("{% for x in range(6) if x % 2 %}{{ x }}{% endfor %}") == "135");
  CHECK(rendered("{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}") == "02");
  CHECK(rendered("{% set n = 1 %}{% for x in [1, 2] %}{% set n = x %}{% endfor %}{{ n }}") == "1");
  CHECK(rendered("{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}") == "3");
  CHECK(rendered("{% set text %}a{{ 1 }}{% endset %}[{{ text }}]") == "[a1]");
}

TEST_CASE("whitespace control", "[template]") {
  CHECK(rendered("a  {{- 'b' -}}  c") == "abc");
  CHECK(rendered("a\n{%- if true %}\nb\n{%- endif -%}\nc") == "a\nbc");
  CHECK(rendered("a {#- comment -#} b") == "ab");
  const TemplateOptions chat = kChatTemplateOptions;
  CHECK(rendered("  {% if true %}\nx\n  {% endif %}\ny\n", {}, chat) == "x\ny");
  CHECK(rendered("x\n", {}) == "x\n");
}

TEST_CASE("trim and strip take off what Python calls white space", "[template]") {
  const json variables = {{"text", "\xc2\xa0\xe3\x80\x80 that\xc2\x85\xe2\x80\xa8"}, {"word", "\xc3\xa9\xe4\xb8\x80"}};
  CHECK(rendered("[{{ text | trim }}][{{ text.lstrip() }}][{{ text.rstrip() }}]", variables) ==
        "[that][that\xc2\x85\xe2\x80\xa8][\xc2\xa0\xe3\x80\x80 that]");
  CHECK(rendered("[{{ word.strip() }}][{{ ' \t ' | trim }}][{{ 'xax'.strip('x') }}]", variables) == "[\xc3\xa9\xe4\xb8\x80][][a]");
}

TEST_CASE("chat templates of the common shapes render", "[template]") {
  const json variables = {{"messages", {{{"role", "system"}, {"content", "Be brief."}}, {{"role", "user"}, {"content", " Hi "}}}},
                          {"add_generation_prompt", true}, {"bos_token", "<s>"}, {"eos_token", "</s>"}};
  CHECK(rendered("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
                 "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}", variables, kChatTemplateOptions) ==
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n");
  CHECK(rendered("{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
                 "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
                 "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
                 "{{ raise_exception('roles must alternate') }}{% endif %}"
                 "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
                 "{% else %}{% set content = message['content'] %}{% endif %}"
                 "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
                 "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
                 variables, kChatTemplateOptions) == "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi [/INST]");
  CHECK(rendered("{{ raise_exception('Only user roles') }}") == "render: t:1:19: Only user roles");
}

TEST_CASE("chat templates with the constructs of the published ones render as Jinja renders them", "[template]") {
  // tests/golden/chat/*.jinja are our own texts over the constructs of the templates that they are named after; cases.json has
  // conversations and what Jinja 3.1 made of them (tests/interop/chat_templates.py), null where raise_exception stops it.
  const std::filesystem::path folder = test::source_dir() / "tests/golden/chat";
  std::ifstream file(folder / "cases.json");
  const auto cases = nlohmann::json::parse(file);
  CHECK(cases.size() >= 20);
  for (const auto& one : cases) {
    const std::string name = one["template"];
    std::ifstream source(folder / name, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(source), {}};
    const auto chat = Template::parse(text, name, kChatTemplateOptions);
    CAPTURE(name, one["variables"].dump());
    if (!chat) FAIL(chat.error().detail);
    const auto rendered = chat->render(one["variables"]);
    CAPTURE(rendered ? *rendered : rendered.error().detail);
    CHECK(rendered.has_value() == one["expected"].is_string());
    if (rendered && one["expected"].is_string()) CHECK(*rendered == one["expected"].get<std::string>());
  }
}

TEST_CASE("macros have parameters with defaults, see no loop of their caller and end by a limit", "[template]") {
  const auto render = [](std::string_view source) {
    const auto parsed = Template::parse(source, "t", kChatTemplateOptions);
    if (!parsed) return "error: " + parsed.error().detail;
    const auto text = parsed->render(nlohmann::json::object());
    return text ? *text : "error: " + text.error().detail;
  };
  CHECK(render("{% macro twice(a, b='-') %}{{ a }}{{ b }}{{ a }}{% endmacro %}{{ twice('x') }} {{ twice('y', b='+') }}") == "x-x y+y");
  CHECK(render("{% set top = 'T' %}{% macro m() %}{{ top }}{{ i is defined }}{% endmacro %}{% for i in [1] %}{{ m() }}{{ i }}{% endfor %}") == "TFalse1");
  CHECK(render("{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}") == "3210");
  CHECK(render("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}").find("has 1 parameters") != std::string::npos);
  CHECK(render("{% macro m(a) %}{% endmacro %}{{ m(b=2) }}").find("has no parameter") != std::string::npos);
  CHECK(render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("deep") != std::string::npos);
}

TEST_CASE("mistakes are named with their place", "[template]") {
  CHECK(rendered("ab\n {{ x }") == "parse: t:2:7: '}' closes nothing");
  CHECK(rendered("{{ x y }}") == "parse: t:1:6: expected '}}', found 'y'");
  CHECK(rendered("{% if x %}a") == "parse: t:1:12: expected '{% endif %}' before the end of the template");
  CHECK(rendered("{% endfor %}") == "parse: t:1:1: 'endfor' has no beginning");
  CHECK(rendered("{% include 'f' %}") == "parse: t:1:4: tag 'include' is not supported (if, for, set, macro, break, continue are)");
  CHECK(rendered("{{ nope }}") == "render: t:1:4: 'nope' is undefined");
  CHECK(rendered("{{ nope.a }}") == "render: t:1:8: 'nope' is undefined, so it has no 'a'");
  CHECK(rendered("[{{ nope }}]", {}, kChatTemplateOptions) == "[]");
  CHECK(rendered("{{ 1 // 0 }}") == "render: t:1:6: division by zero");
  CHECK(rendered("{{ 'a' | nope }}") == "render: t:1:8: no filter 'nope'");
  CHECK(rendered("{{ 9223372036854775807 + 1 }}").ends_with("does not fit into 64 bits"));
}

TEST_CASE("hostile templates end by a limit, not by time or memory", "[template]") {
  TemplateLimits limits;  // the usual ones where a template says nothing else, for the first; then a twentieth
  const auto code = [&](const std::string& source) {
    auto parsed = Template::parse(source, "t");
    if (!parsed) return parsed.error().code;
    auto text = parsed->render(json::object(), limits);
    REQUIRE(text.has_error());
    return text.error().code;
  };
  CHECK(code("{{ 'aaaaaaaaaaaaaaaa' * 9000000000000000000 }}") == Code::kTooLarge);
  CHECK(code("{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}") == Code::kTooLarge);
  limits = {limits.steps / 20, limits.output_bytes / 20};
  CHECK(code("{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}") == Code::kTooLarge);
  CHECK(code("{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}") == Code::kTooLarge);
  CHECK(code("{% set ns = namespace(l=[1]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}") == Code::kTooLarge);
  CHECK(code(std::string("{{ ") + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}") == Code::kTooLarge);
  std::string sum = "{{ 1";
  for (int i = 0; i < 100000; ++i) sum += "+1";
  CHECK(code(sum + " }}") == Code::kTooLarge);
  std::string ifs;
  for (int i = 0; i < 10000; ++i) ifs += "{% if true %}";
  CHECK(code(ifs) == Code::kTooLarge);
  CHECK(code("{% set ns = namespace() %}{% set ns.self = ns %}") == Code::kBadValue);
}
