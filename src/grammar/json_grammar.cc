// Long bounded strings are chunks of 256 characters, so that a token sees a few states however long
// the string may be.
#include "grammar/json_grammar.h"

#include <fmt/core.h>

#include "grammar/pattern.h"

namespace dure {
namespace {

constexpr int64_t kChunk = 256;
const char* const kSpace = "( |\r?\n[ \t]{0,64})?";

void add_hex(ByteNfa& nfa, ByteNfa::Node from, ByteNfa::Node to) {
  nfa.add_bytes(from, '0', '9', to);
  nfa.add_bytes(from, 'a', 'f', to);
  nfa.add_bytes(from, 'A', 'F', to);
}
ByteNfa::Node after_hex(ByteNfa& nfa, ByteNfa::Node from, int count) {
  for (; count > 0; --count) {
    const ByteNfa::Node next = nfa.add_node();
    add_hex(nfa, from, next);
    from = next;
  }
  return from;
}
ByteNfa::Node after_any(ByteNfa& nfa, ByteNfa::Node from, std::string_view bytes) {
  const ByteNfa::Node to = nfa.add_node();
  for (const char c : bytes)
    nfa.add_bytes(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
  return to;
}

// \uXXXX: a character, or a pair of surrogates.
void add_utf16(ByteNfa& nfa, ByteNfa::Node u, ByteNfa::Node to) {
  nfa.add_skip(after_hex(nfa, after_any(nfa, u, "0123456789abcefABCEF"), 3), to);
  const ByteNfa::Node d = after_any(nfa, u, "dD");
  nfa.add_skip(after_hex(nfa, after_any(nfa, d, "01234567"), 2), to);
  const ByteNfa::Node high = after_hex(nfa, after_any(nfa, d, "89abAB"), 2);
  const ByteNfa::Node low = after_any(nfa, nfa.add_text(high, "\\u"), "dD");
  nfa.add_skip(after_hex(nfa, after_any(nfa, low, "cdefCDEF"), 2), to);
}

// One character of a JSON string, in any of its spellings.
// `escaped`: not as it stands.
void add_string_char(ByteNfa& nfa, ByteNfa::Node from, ByteNfa::Node to, char escaped) {
  const auto e = static_cast<char32_t>(escaped);
  const CharSet raw = CharSet({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}, {e, e}}).complement();
  add_chars(nfa, from, raw, TextEncoding::kPlain, to);
  const ByteNfa::Node slash = after_any(nfa, from, "\\");
  nfa.add_skip(after_any(nfa, slash, "\"\\/bfnrt"), to);
  add_utf16(nfa, after_any(nfa, slash, "u"), to);
}

// Up to or exactly `count` characters, then perhaps the closing quote: the automaton of one
// character again and again, its end the next one's start.
class StringChars {
 public:
  enum class Count { kExactly, kAtMost };
  enum class Ending { kNone, kQuote };

  StringChars(Count how, int64_t count, Ending ending, char escaped)
      : how_(how), count_(static_cast<int32_t>(count)), ending_(ending) {
    ByteNfa nfa;
    const ByteNfa::Node begin = nfa.add_node();
    const ByteNfa::Node end = nfa.add_node();
    add_string_char(nfa, begin, end, escaped);
    one_ = nfa.determinise(begin, end);
  }

  ByteDfa build() const {
    std::vector<ByteDfa::State> states;
    for (int32_t i = 0; i < count_; ++i) {
      for (int32_t s = 0; s < size(); ++s) states.push_back(state_of(i, s));
    }
    states.push_back(state_of(count_, -1));
    ByteDfa::State last = dead_state();
    last.accepts = ending_ == Ending::kQuote;
    states.push_back(last);
    return ByteDfa(states);
  }

 private:
  static ByteDfa::State dead_state() {
    ByteDfa::State state;
    state.next.fill(ByteDfa::kDead);
    return state;
  }
  int32_t size() const { return static_cast<int32_t>(one_.state_count()); }
  // State s of character i; s -1: behind the last character.
  ByteDfa::State state_of(int32_t i, int32_t s) const {
    ByteDfa::State state = dead_state();
    for (int byte = 0; s >= 0 && byte < 256; ++byte) {
      const int32_t to = one_.next(s, static_cast<uint8_t>(byte));
      if (to == ByteDfa::kDead) continue;
      state.next[static_cast<size_t>(byte)] = one_.accepts(to) ? (i + 1) * size() : i * size() + to;
    }
    const bool may_end = s <= 0 && (how_ == Count::kAtMost || i == count_);
    if (may_end && ending_ == Ending::kQuote) state.next['"'] = count_ * size() + 1;
    state.accepts = may_end && ending_ == Ending::kNone;
    return state;
  }

  Count how_;
  int32_t count_;
  Ending ending_;
  ByteDfa one_;
};

ByteDfa exactly_chars(int64_t count, char escaped) {
  return StringChars(StringChars::Count::kExactly, count, StringChars::Ending::kNone, escaped)
      .build();
}
ByteDfa at_most_chars(int64_t count, char escaped) {
  return StringChars(StringChars::Count::kAtMost, count, StringChars::Ending::kQuote, escaped)
      .build();
}
ByteDfa any_chars(char escaped) {
  ByteNfa nfa;
  const ByteNfa::Node begin = nfa.add_node();
  add_string_char(nfa, begin, begin, escaped);
  return nfa.determinise(begin, nfa.add_text(begin, "\""));
}

}  // namespace

JsonGrammar::JsonGrammar(GrammarBuilder& builder, JsonSpacing spacing,
                         std::vector<std::string> never)
    : builder_(builder), spacing_(spacing), never_(std::move(never)) {}

RuleId JsonGrammar::value() {
  if (value_) return *value_;
  const GrammarBuilder::Body body = builder_.open();
  value_ = body.rule;
  for (const RuleId rule : {null(), boolean(), number(), string(), array(), object()})
    builder_.call(body.start, rule, body.final);
  return *value_;
}

RuleId JsonGrammar::object() {
  return listed('{', builder_.sequence({string(), colon(), value()}), '}');
}
RuleId JsonGrammar::array() { return listed('[', value(), ']'); }
RuleId JsonGrammar::string() { return string_of(0, std::nullopt); }
RuleId JsonGrammar::number() {
  return builder_.pattern("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
}

RuleId JsonGrammar::listed(char open_bracket, RuleId item, char close_bracket) {
  const RuleId more = builder_.any_number(builder_.sequence({comma(), item}));
  const RuleId items = builder_.sequence({item, more});
  return builder_.sequence({open(open_bracket), builder_.at_most(items, 1), close(close_bracket)});
}

// min characters, then up to max - min more and the closing quote.
RuleId JsonGrammar::string_of(int64_t min, std::optional<int64_t> max) {
  if (max && *max < min) return builder_.choice({});
  std::vector<RuleId> parts = {builder_.literal("\"")};
  if (min >= kChunk)
    parts.push_back(builder_.repeated(chars("=", kChunk), min / kChunk, min / kChunk));
  if (min % kChunk > 0) parts.push_back(chars("=", min % kChunk));
  const bool endless = !max || *max > GrammarBuilder::kRepeatsMax;
  parts.push_back(endless ? chars("*", 0) : string_end(*max - min));
  return builder_.sequence(parts);
}

// Characters "=": exactly so many, "<": up to so many and the quote, "*": any number and the quote.
RuleId JsonGrammar::chars(const char* how, int64_t count) {
  const auto [found, fresh] = chars_.try_emplace({*how, count}, 0);
  if (fresh)
    found->second = builder_.terminal(*how == '='   ? exactly_chars(count, escaped())
                                      : *how == '<' ? at_most_chars(count, escaped())
                                                    : any_chars(escaped()));
  return found->second;
}

// Up to `max` characters and the quote: fewer chunks than fit and any rest, or all of them.
RuleId JsonGrammar::string_end(int64_t max) {
  const int64_t chunks = max / kChunk;
  if (chunks <= 1) return chars("<", max);
  return builder_.choice({builder_.sequence({builder_.at_most(chars("=", kChunk), chunks - 1),
                                             chars("<", kChunk - 1)}),
                          builder_.sequence({builder_.exactly(chars("=", kChunk), chunks),
                                             chars("<", max % kChunk)})});
}

RuleId JsonGrammar::quoted(const ByteDfa& contents) {
  ByteNfa nfa;
  const ByteNfa::Node begin = nfa.add_node();
  const ByteNfa::Node end = nfa.add_node();
  ByteDfa left = contents;
  for (const std::string& text : never_) left = difference(left, holding(text));
  nfa.add_dfa(nfa.add_text(begin, "\""), left, end);
  return builder_.terminal(nfa.determinise(begin, nfa.add_text(end, "\"")));
}

RuleId JsonGrammar::key(std::string_view name) {
  for (const std::string& text : never_)
    if (name.find(text) != std::string_view::npos) return builder_.choice({});
  return builder_.literal(fmt::format("\"{}\"", spelt(name, TextEncoding::kJsonString)));
}

RuleId JsonGrammar::given(const Json& value) {
  if (value.is_string()) return key(value.as_string());
  if (!value.is_array() && !value.is_object()) return builder_.literal(value.dump());
  const bool list = value.is_array();
  std::vector<RuleId> parts = {open(list ? '[' : '{')};
  const auto separate = [&] {
    if (parts.size() > 1) parts.push_back(comma());
  };
  if (list) {
    for (const Json& item : value.as_array()) {
      separate();
      parts.push_back(given(item));
    }
  } else {
    for (const auto& [name, member] : value.as_object()) {
      separate();
      parts.insert(parts.end(), {key(name), colon(), given(member)});
    }
  }
  parts.push_back(close(list ? ']' : '}'));
  return builder_.sequence(parts);
}

RuleId JsonGrammar::spaced(std::string_view text, bool before, bool after) {
  if (spacing_ == JsonSpacing::kCompact) return builder_.literal(text);
  return builder_.pattern((before ? kSpace : "") + ("\\" + std::string(text)) +
                          (after ? kSpace : ""));
}

ByteDfa holding(std::string_view part) {
  ByteNfa nfa;
  const ByteNfa::Node begin = nfa.add_node();
  nfa.add_bytes(begin, 0x00, 0xFE, begin);
  const ByteNfa::Node end = nfa.add_text(begin, part);
  nfa.add_bytes(end, 0x00, 0xFE, end);
  return nfa.determinise(begin, end);
}

const ByteDfa& any_json_text() {
  static const ByteDfa dfa = pattern_dfa("", PatternMatch::kAnywhere, TextEncoding::kJsonString);
  return dfa;
}

}  // namespace dure
