// Long bounded strings are chunks of 64 characters, so that a token sees a few states however long
// the string may be.
#include "grammar/json_grammar.h"

#include "grammar/pattern.h"

namespace dure {
namespace {

constexpr int64_t kChunk = 64;
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
void add_string_char(ByteNfa& nfa, ByteNfa::Node from, ByteNfa::Node to) {
  const CharSet raw = CharSet({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}).complement();
  add_chars(nfa, from, raw, TextEncoding::kPlain, to);
  const ByteNfa::Node slash = after_any(nfa, from, "\\");
  nfa.add_skip(after_any(nfa, slash, "\"\\/bfnrt"), to);
  add_utf16(nfa, after_any(nfa, slash, "u"), to);
}

enum class Ending { kNone, kQuote };
enum class Count { kExactly, kAtMost, kAny };

ByteDfa string_chars(Count how, int64_t count, Ending ending) {
  ByteNfa nfa;
  const ByteNfa::Node begin = nfa.add_node();
  const ByteNfa::Node end = nfa.add_node();
  ByteNfa::Node at = begin;
  if (how == Count::kAny) {
    add_string_char(nfa, at, at);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const ByteNfa::Node next = nfa.add_node();
      if (how == Count::kAtMost) nfa.add_skip(at, end);
      add_string_char(nfa, at, next);
      at = next;
    }
  }
  nfa.add_skip(at, end);
  const ByteNfa::Node last = ending == Ending::kQuote ? nfa.add_text(end, "\"") : end;
  return nfa.determinise(begin, last);
}

}  // namespace

JsonGrammar::JsonGrammar(GrammarBuilder& builder, JsonSpacing spacing)
    : builder_(builder), spacing_(spacing) {}

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
  if (min >= kChunk) {
    const RuleId chunk = builder_.terminal(string_chars(Count::kExactly, kChunk, Ending::kNone));
    parts.push_back(builder_.repeated(chunk, min / kChunk, min / kChunk));
  }
  if (min % kChunk > 0)
    parts.push_back(builder_.terminal(string_chars(Count::kExactly, min % kChunk, Ending::kNone)));
  const bool endless = !max || *max > GrammarBuilder::kRepeatsMax;
  parts.push_back(endless ? builder_.terminal(string_chars(Count::kAny, 0, Ending::kQuote))
                          : string_end(*max - min));
  return builder_.sequence(parts);
}

// Up to `max` characters and the quote: fewer chunks than fit and any rest, or all of them.
RuleId JsonGrammar::string_end(int64_t max) {
  const RuleId tail = builder_.terminal(string_chars(Count::kAtMost, max % kChunk, Ending::kQuote));
  const int64_t chunks = max / kChunk;
  if (chunks == 0) return tail;
  const RuleId chunk = builder_.terminal(string_chars(Count::kExactly, kChunk, Ending::kNone));
  const RuleId any_tail =
      builder_.terminal(string_chars(Count::kAtMost, kChunk - 1, Ending::kQuote));
  return builder_.choice({builder_.sequence({builder_.at_most(chunk, chunks - 1), any_tail}),
                          builder_.sequence({builder_.exactly(chunk, chunks), tail})});
}

RuleId JsonGrammar::quoted(const ByteDfa& contents) {
  ByteNfa nfa;
  const ByteNfa::Node begin = nfa.add_node();
  const ByteNfa::Node end = nfa.add_node();
  nfa.add_dfa(nfa.add_text(begin, "\""), contents, end);
  return builder_.terminal(nfa.determinise(begin, nfa.add_text(end, "\"")));
}

RuleId JsonGrammar::key(std::string_view name) {
  return builder_.literal("\"" + spelt(name, TextEncoding::kJsonString) + "\"");
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

const ByteDfa& any_json_text() {
  static const ByteDfa dfa = pattern_dfa("", PatternMatch::kAnywhere, TextEncoding::kJsonString);
  return dfa;
}

}  // namespace dure
