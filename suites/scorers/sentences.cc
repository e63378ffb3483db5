#include "suites/scorers/sentences.h"

#include "suites/utf8.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace quantfleet {
namespace {

using Words = std::set<std::string, std::less<>>;

// Behind these a full stop ends no sentence, unless one of kOpeners follows. Newspaper English: no etc., no e.g.
const Words kAbbreviations = {
    "mr",   "mrs",  "ms",   "dr",   "prof", "st",   "jr",   "sr",   "messrs", "gen",  "lt",    "col",  "maj",  "adm",  "sen",  "rep",   "reps",   "inc",     "corp",
    "co",   "cos",  "ltd",  "bros", "cie",  "vs",   "vt",   "ave",  "ft",     "yr",   "mg",    "jan",  "feb",  "aug",  "sep",  "sept",  "oct",    "nov",     "dec",
    "tues", "wed",  "fri",  "ala",  "ariz", "calif", "colo", "conn", "fla",   "ga",   "ill",   "kan",  "ky",   "mich", "minn", "nev",   "okla",   "ore",     "pa",
    "tenn", "va",   "wash", "wis",  "d.c",  "n.c",  "n.h",  "n.j",  "n.m",    "n.y",  "s.c",   "w.va", "l.a",  "u.s",  "u.k",  "u.n",   "u.s.a",  "u.s.s.r", "a.m",
    "p.m",  "ph.d", "c",    "d",    "e",    "f",    "g",    "h",    "k",      "l",    "m",     "n",    "p",    "r",    "s",    "t",     "v",      "w"};

// Begin a sentence even behind an abbreviation.
const Words kOpeners = {"i", "he",  "her", "your", "it",   "they", "this", "these", "the",  "there", "here", "in",  "if",    "when",  "while",   "since",     "although", "though",  "however",
                        "but", "so",   "yet",  "thus", "both",  "some", "many",  "most", "which", "such", "under", "between", "among",     "into",     "through", "despite",
                        "moreover", "meanwhile", "instead", "indeed", "still", "even", "please", "finally", "nor", "above", "according", "nevertheless", "similarly", "nonetheless", "separately"};

// Met in small letters: a capital makes them the begin of a sentence, not a name.
const Words kCommon = {"she",  "we",    "you",   "that",  "those",  "a",     "an",    "on",     "at",    "for",   "from",  "with",  "by",    "as",    "after", "before", "because", "and",   "then",
                       "also", "all",   "each",  "every", "no",     "not",   "what",  "who",    "how",   "why",   "where", "one",   "two",   "three", "four",  "five",   "his",     "its",
                       "their", "our",  "my",    "other",  "others", "another", "over", "during", "until", "now",  "today", "just",  "only",  "let",   "find",   "write",   "give",  "make",
                       "use",  "add",   "once",  "first", "second", "third", "next",  "last",   "later", "to",    "of",    "or",    "be",    "is",    "are",   "was",    "were",    "do",    "does",
                       "did",  "can",   "could", "may",   "might",  "will",  "would", "should", "have",  "has",   "had",   "people", "men",  "women", "children"};

// Characters of a text that is not changed any more, by place.
class Text {
 public:
  explicit Text(const std::string& text) {
    const auto offsets = character_offsets(text);
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i) characters_.push_back(text.substr(offsets[i], offsets[i + 1] - offsets[i]));
  }
  std::size_t size() const { return characters_.size(); }
  const std::string& operator[](std::size_t i) const { return characters_[i]; }
  bool is_space(std::size_t i) const { return i < size() && white_space_at(characters_[i], 0) > 0; }
  bool is(std::size_t i, std::string_view character) const { return i < size() && characters_[i] == character; }
  bool ends_sentence(std::size_t i) const { return is(i, ".") || is(i, "?") || is(i, "!"); }
  bool is_quote(std::size_t i) const {
    return is(i, "\xe2\x80\x98") || is(i, "\xe2\x80\x99") || is(i, "\xe2\x80\x9c") || is(i, "\xe2\x80\x9d") || is(i, "\xc2\xab") || is(i, "\xc2\xbb");
  }
  // Closes what stands before it, as does white space behind it.
  bool is_closing(std::size_t i) const { return is(i, "\"") || is(i, "'") || is(i, ")") || is(i, "]") || is(i, "}") || is_quote(i); }
  // No part of a word.
  bool is_mark(std::size_t i) const {
    return i < size() && (is_quote(i) || (characters_[i].size() == 1 && std::string_view(")\";}]*:@'({[?!").find(characters_[i][0]) != std::string_view::npos));
  }
  // Two or more dots or hyphens; 0: none begin here.
  std::size_t run(std::size_t i) const {
    if (!is(i, ".") && !is(i, "-")) return 0;
    std::size_t end = i;
    while (is(end, characters_[i])) ++end;
    return end - i > 1 ? end - i : 0;
  }
  bool word_may_begin(std::size_t i) const {
    return characters_[i].size() > 1 || std::string_view("(\"`{[:;&#*@)}]-,").find(characters_[i][0]) == std::string_view::npos;
  }
  // The words and marks of a stretch.
  std::vector<std::string> tokens(std::size_t begin, std::size_t end) const {
    std::vector<std::string> all;
    const auto boundary = [&](std::size_t i) { return i >= end || is_space(i) || is_mark(i) || run(i) > 0; };
    for (std::size_t i = begin; i < end;) {
      if (is_space(i)) {
        ++i;
        continue;
      }
      std::size_t next = i + std::max<std::size_t>(1, run(i));
      if (next == i + 1 && word_may_begin(i))
        while (!boundary(next) && !(is(next, ",") && boundary(next + 1))) ++next;
      std::string& token = all.emplace_back();
      for (; i < std::min(next, end); ++i) token += characters_[i];
    }
    return all;
  }

 private:
  std::vector<std::string> characters_;
};

std::string first_character(const std::string& token) { return token.substr(0, character_offsets(token)[1]); }
bool begins_large(const std::string& token) { return lower_case(first_character(token)) != first_character(token); }
bool begins_small(const std::string& token) { return upper_case(first_character(token)) != first_character(token); }
bool is_initial(const std::string& token) { return token.ends_with('.') && count_characters(token) == 2 && (begins_large(token) || begins_small(token)); }
bool is_ellipsis(const std::string& token) { return token.size() > 1 && token.find_first_not_of('.') == std::string::npos; }
bool is_number(std::string_view token) {
  if (token.starts_with('-')) token.remove_prefix(1);
  if (token.starts_with('.') || token.starts_with(',')) token.remove_prefix(1);
  return !token.empty() && token[0] >= '0' && token[0] <= '9' && token.find_first_not_of("0123456789,.-") == std::string_view::npos;
}

std::string plain(const std::string& token) {
  std::string word = lower_case(token);
  if (word.size() > 1 && word.ends_with('.')) word.pop_back();
  return word;
}

// Does a sentence end behind `token`, which `next` follows? `small` are the words that this text has in small letters.
bool breaks(const std::string& token, const std::string& next, const Words& small) {
  if (token == "." || token == "?" || token == "!") return true;
  if (!token.ends_with('.')) return false;
  const std::string word = plain(token), following = plain(next);
  const bool ellipsis = is_ellipsis(token), initial = is_initial(token);
  const bool abbreviation = !ellipsis && (kAbbreviations.contains(word) || kAbbreviations.contains(word.substr(word.rfind('-') + 1)));
  if (token.ends_with("..") && !ellipsis) return false;
  if ((abbreviation || ellipsis) && !initial) return begins_large(next) && kOpeners.contains(following);
  if (abbreviation) return false;
  if (!initial && !is_number(word)) return true;
  if (begins_small(next) || std::string_view(";:,.!?").find(next) != std::string_view::npos) return false;
  return !initial || !begins_large(next) || kOpeners.contains(following) || kCommon.contains(following) || small.contains(following);
}

}  // namespace

int count_sentences(const std::string& given) {
  const Text text(strip_white_space(given, false, true));
  Words small;
  for (const std::string& token : text.tokens(0, text.size()))
    if (begins_small(token)) small.insert(plain(token));

  // Each mark that may end a sentence: the word before it, and what follows. Of several marks in one word the last counts.
  struct Place {
    std::size_t word, mark, next, context_end;
  };
  std::vector<Place> places;
  std::size_t word = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.is_space(i)) word = i + 1;
    if (!text.ends_sentence(i)) continue;
    Place place{word, i, i + 1, i + 2};
    if (text.is_space(i + 1)) {
      while (text.is_space(place.next)) ++place.next;
      place.context_end = place.next;
      while (place.context_end < text.size() && !text.is_space(place.context_end)) ++place.context_end;
    }
    if (place.next >= text.size() || !(text.is_space(i + 1) || text.is_mark(i + 1))) continue;
    if (!places.empty() && places.back().word == word) places.pop_back();
    places.push_back(place);
  }
  std::vector<std::pair<std::size_t, std::size_t>> sentences;
  std::size_t begin = 0;
  for (const Place& place : places) {
    const std::vector<std::string> context = text.tokens(place.word, place.context_end);
    bool ends = false;
    for (std::size_t i = 0; i + 1 < context.size() && !ends; ++i) ends = breaks(context[i], context[i + 1], small);
    if (!ends) continue;
    sentences.emplace_back(begin, place.mark + 1);
    begin = place.next;
  }
  sentences.emplace_back(begin, text.size());

  // Closing marks at a sentence's begin, with white space behind them, belong to the one before.
  int count = 0;
  std::size_t taken = 0;
  for (std::size_t k = 0; k < sentences.size(); ++k) {
    const bool empty = sentences[k].first + taken >= sentences[k].second;
    taken = 0;
    if (k + 1 < sentences.size()) {
      const auto [first, last] = sentences[k + 1];
      std::size_t end = first;
      while (end < last && text.is_closing(end)) ++end;
      const bool closed = end > first && (end == last || text.is_space(end) || text.run(end) > 0);
      if (closed) {
        while (end < last && text.is_space(end)) ++end;
        taken = end - first;
        ++count;
        continue;
      }
    }
    count += !empty;
  }
  return count;
}

}  // namespace quantfleet
