#include "suites/scorers/language.h"

#include "suites/utf8.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>

namespace quantfleet {
namespace {

std::uint32_t code_point(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(character[i])); };
  switch (character.size()) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3: return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

struct Script {
  const char* name;
  std::uint32_t first, last;
};
// Scripts of one language have its code as their name.
constexpr Script kScripts[] = {{"latin", 'A', 'Z'},        {"latin", 'a', 'z'},        {"latin", 0xc0, 0x24f},     {"latin", 0x1e00, 0x1eff}, {"el", 0x370, 0x3ff},
                               {"cyrillic", 0x400, 0x52f}, {"he", 0x590, 0x5ff},       {"arabic", 0x600, 0x6ff},   {"devanagari", 0x900, 0x963}, {"bn", 0x980, 0x9ff},
                               {"pa", 0xa00, 0xa7f},       {"gu", 0xa80, 0xaff},       {"ta", 0xb80, 0xbff},       {"te", 0xc00, 0xc7f},      {"kn", 0xc80, 0xcff},
                               {"ml", 0xd00, 0xd7f},       {"th", 0xe00, 0xe7f},       {"kana", 0x3040, 0x30ff},   {"han", 0x4e00, 0x9fff},   {"ko", 0xac00, 0xd7af}};

struct SmallWords {
  const char* language;
  const char* script;
  std::array<const char*, 16> words;
};
constexpr SmallWords kSmallWords[] = {
    {"en", "latin", {"the", "and", "of", "to", "is", "in", "that", "it", "for", "with", "you", "are", "this", "was", "be", "have"}},
    {"es", "latin", {"el", "los", "las", "y", "que", "es", "por", "una", "con", "para", "del", "se", "como", "más", "pero", "está"}},
    {"pt", "latin", {"o", "os", "e", "não", "uma", "um", "com", "para", "do", "da", "em", "que", "você", "são", "mais", "ao"}},
    {"fr", "latin", {"le", "les", "et", "des", "est", "une", "dans", "pour", "qui", "pas", "je", "vous", "nous", "du", "au", "avec"}},
    {"de", "latin", {"der", "die", "das", "und", "ist", "nicht", "ein", "eine", "zu", "mit", "den", "ich", "von", "auf", "für", "sie"}},
    {"it", "latin", {"il", "di", "che", "è", "per", "non", "una", "un", "gli", "con", "sono", "della", "del", "le", "ma", "anche"}},
    {"pl", "latin", {"w", "na", "się", "nie", "jest", "że", "z", "do", "to", "i", "jak", "są", "oraz", "od", "ale", "tak"}},
    {"vi", "latin", {"là", "và", "của", "có", "không", "cho", "một", "được", "trong", "người", "tôi", "với", "các", "này", "những", "đã"}},
    {"sw", "latin", {"na", "ya", "wa", "kwa", "ni", "katika", "za", "la", "hii", "kama", "cha", "si", "hiyo", "watu", "pia", "yake"}},
    {"fi", "latin", {"ja", "on", "ei", "että", "se", "hän", "oli", "mutta", "tai", "kun", "ovat", "minä", "olen", "myös", "kuin", "joka"}},
    {"nl", "latin", {"de", "het", "een", "van", "en", "is", "niet", "dat", "op", "te", "zijn", "voor", "met", "ik", "maar", "ook"}},
    {"sv", "latin", {"och", "att", "det", "som", "en", "på", "är", "av", "för", "med", "inte", "till", "ett", "jag", "har", "var"}},
    {"tr", "latin", {"ve", "bir", "bu", "için", "ile", "da", "de", "çok", "ne", "olarak", "daha", "olan", "gibi", "ben", "değil", "var"}},
    {"id", "latin", {"yang", "dan", "di", "ini", "itu", "dengan", "untuk", "tidak", "dari", "dalam", "akan", "pada", "saya", "adalah", "ke", "juga"}},
    {"ru", "cyrillic", {"и", "в", "не", "на", "что", "я", "с", "это", "как", "он", "по", "но", "мы", "для", "из", "вы"}},
    {"uk", "cyrillic", {"і", "в", "не", "на", "що", "я", "з", "це", "як", "він", "та", "але", "ми", "для", "із", "ви"}},
    {"bg", "cyrillic", {"и", "в", "не", "на", "че", "аз", "с", "това", "как", "той", "по", "но", "ние", "за", "от", "се"}},
    {"hi", "devanagari", {"है", "के", "में", "की", "और", "का", "से", "को", "हैं", "यह", "पर", "नहीं", "भी", "एक", "कि", "मैं"}},
    {"mr", "devanagari", {"आहे", "आणि", "मध्ये", "हे", "ते", "या", "नाही", "आहेत", "एक", "ही", "तर", "मी", "हा", "आपण", "पण", "होते"}},
    {"ne", "devanagari", {"छ", "र", "को", "मा", "छन्", "यो", "हो", "पनि", "गर्न", "लाई", "एक", "भने", "तर", "म", "हुन्छ", "छैन"}},
};
// Letters that decide within a script.
struct OwnLetters {
  const char* language;
  const char* script;
  const char* letters;
};
constexpr OwnLetters kOwnLetters[] = {{"uk", "cyrillic", "іїєґ"}, {"ru", "cyrillic", "ыэё"}, {"ur", "arabic", "ٹڈڑےںھہ"}, {"fa", "arabic", "پچژگکی"},
                                      {"de", "latin", "ß"},       {"pt", "latin", "ãõ"},     {"es", "latin", "ñ¿¡"},      {"pl", "latin", "łąęśźż"},
                                      {"vi", "latin", "ơưạảấầếềộớợ"}};

std::vector<std::string> characters_of(const std::string& text) {
  const auto offsets = character_offsets(text);
  std::vector<std::string> characters;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) characters.push_back(text.substr(offsets[i], offsets[i + 1] - offsets[i]));
  return characters;
}

const char* script_of(std::uint32_t code) {
  for (const Script& script : kScripts)
    if (code >= script.first && code <= script.last && code != 0xd7 && code != 0xf7) return script.name;
  return nullptr;
}

}  // namespace

std::string language_of(const std::string& text) {
  const std::string lower = lower_case(text);
  std::map<std::string, int> scripts, points;
  std::string word;
  const auto characters = characters_of(lower);
  std::vector<std::string> words(1);
  for (const std::string& character : characters) {
    const std::uint32_t code = code_point(character);
    const char* script = script_of(code);
    if (script) ++scripts[script];
    const bool joins = script || (code >= 0x300 && code <= 0x36f);
    if (joins) words.back() += character;
    else if (!words.back().empty()) words.emplace_back();
  }
  if (scripts.empty()) return "";
  if (scripts["kana"] > 0 && scripts["kana"] * 10 >= scripts["han"]) scripts["kana"] += scripts["han"];
  std::string script;
  for (const auto& [name, count] : scripts)
    if (script.empty() || count > scripts[script]) script = name;
  if (script == "kana") return "ja";
  if (script == "han") return "zh-cn";
  for (const SmallWords& small : kSmallWords)
    if (script == small.script)
      for (const std::string& one : words) points[small.language] += 2 * static_cast<int>(std::count(small.words.begin(), small.words.end(), one));
  for (const OwnLetters& own : kOwnLetters)
    if (script == own.script)
      for (const std::string& letter : characters_of(own.letters)) points[own.language] += static_cast<int>(std::count(characters.begin(), characters.end(), letter));
  std::string best;
  for (const auto& [language, count] : points)
    if (count > 0 && (best.empty() || count > points[best])) best = language;
  if (!best.empty()) return best;
  if (script == "latin") return "en";
  if (script == "cyrillic") return "ru";
  if (script == "arabic") return "ar";
  if (script == "devanagari") return "hi";
  return script;
}

std::vector<std::string> treebank_words(const std::string& text) {
  static const std::set<std::string> kAlone = {",", ";", ":", "@", "#", "$", "%", "&", "?", "!", "\"", "(", ")", "[", "]", "{", "}", "<", ">", "`", "*",
                                               "\xe2\x80\x98", "\xe2\x80\x99", "\xe2\x80\x9c", "\xe2\x80\x9d", "\xe2\x80\x9e", "\xc2\xab", "\xc2\xbb"};
  std::vector<std::string> words, chunk;
  const auto emit = [&](std::string word) {
    if (word.empty()) return;
    const std::string lower = lower_case(word);
    for (const char* ending : {"n't", "'s", "'m", "'d", "'ll", "'re", "'ve"}) {
      const std::size_t length = std::string_view(ending).size();
      if (lower.size() > length && lower.ends_with(ending)) {
        words.push_back(word.substr(0, word.size() - length));
        words.push_back(word.substr(word.size() - length));
        return;
      }
    }
    if (lower == "cannot" || lower == "gonna" || lower == "gotta") {
      words.push_back(word.substr(0, 3));
      words.push_back(word.substr(3));
      return;
    }
    words.push_back(std::move(word));
  };
  const auto digit = [](const std::string& c) { return c.size() == 1 && c[0] >= '0' && c[0] <= '9'; };
  const auto flush = [&] {
    std::string word;
    for (std::size_t i = 0; i < chunk.size(); ++i) {
      const bool inside_number = (chunk[i] == "," || chunk[i] == ":") && i + 1 < chunk.size() && digit(chunk[i + 1]);
      const bool dashes = chunk[i] == "-" && i + 1 < chunk.size() && chunk[i + 1] == "-";
      if ((kAlone.contains(chunk[i]) && !inside_number) || dashes) {
        emit(std::move(word));
        word.clear();
        if (dashes) ++i;
      } else {
        word += chunk[i];
      }
    }
    // The last full stop of a word without another one is the sentence's.
    if (word.ends_with('.') && std::count(word.begin(), word.end(), '.') == 1) word.pop_back();
    emit(std::move(word));
    chunk.clear();
  };
  for (const std::string& character : characters_of(text)) {
    if (white_space_at(character, 0) > 0) flush();
    else chunk.push_back(character);
  }
  flush();
  return words;
}

}  // namespace quantfleet
