// Headers are read whole; of a body everything goes out but what may still become a mark.
#include "text/harmony_parser.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/python_text.h"
#include "text/unicode.h"

namespace dure {
namespace {

constexpr std::string_view kMessage = "<|message|>", kChannel = "<|channel|>",
                           kTo = "to=", kFunctions = "functions.";
constexpr std::array<std::string_view, 4> kEnds = {"<|end|>", "<|call|>", "<|return|>",
                                                   "<|start|>"};

// Up to white space or the next mark.
std::string_view first_word(std::string_view text) {
  size_t size = 0;
  while (size < text.size() && text[size] != ' ' && text[size] != '\n' &&
         !text.substr(size).starts_with("<|"))
    ++size;
  return text.substr(0, size);
}

std::string_view word_behind(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  return at == std::string_view::npos ? std::string_view()
                                      : first_word(text.substr(at + mark.size()));
}

Json parsed(const std::string& text) {
  try {
    Json json = parse_json(text, "tool call");
    if (json.is_object()) return json;
  } catch (const Error&) {  // Told as it was written.
  }
  return Json(text);
}

}  // namespace

HarmonyParser::HarmonyParser(const HarmonyOptions& options) : options_(options) {
  if (!options.continues) return;
  part_ = Part::kContent;
  content_.start();
}

OutputDelta HarmonyParser::push(std::string_view text) {
  OutputDelta delta;
  buffer_ += text;
  advance(delta, false);
  return delta;
}

OutputDelta HarmonyParser::finish() {
  OutputDelta delta;
  advance(delta, true);
  return delta;
}

void HarmonyParser::advance(OutputDelta& delta, bool last) {
  while (part_ == Part::kHeader ? advance_header(delta, last) : advance_body(delta, last)) {
  }
}

bool HarmonyParser::advance_header(OutputDelta& delta, bool last) {
  const size_t at = buffer_.find(kMessage);
  if (at != std::string::npos) {
    const std::string header = buffer_.substr(0, at);
    buffer_.erase(0, at + kMessage.size());
    begin(header, delta);
    return true;
  }
  // A header that broke off says nothing; a text without any mark is no message at all.
  if (last && buffer_.find("<|") == std::string::npos) content_.add(delta.content, buffer_, true);
  if (last) buffer_.clear();
  return false;
}

void HarmonyParser::begin(std::string_view header, OutputDelta& delta) {
  std::string_view tool = word_behind(header, kTo);
  if (tool.starts_with(kFunctions)) tool.remove_prefix(kFunctions.size());
  if (!tool.empty() && tool != "assistant" && options_.calls) {
    part_ = Part::kCall;
    name_ = std::string(tool);
    arguments_.clear();
    call_begun_ = false;
    return;
  }
  part_ = word_behind(header, kChannel) == "analysis" ? Part::kReasoning : Part::kContent;
  EdgeStripper& kind = part_ == Part::kReasoning ? reasoning_ : content_;
  if (kind.started())
    kind.add(part_ == Part::kReasoning ? delta.reasoning : delta.content, "\n", false);
}

bool HarmonyParser::advance_body(OutputDelta& delta, bool last) {
  size_t at = std::string::npos, held = 0;
  std::string_view mark;
  for (const std::string_view end : kEnds) {
    const size_t found = buffer_.find(end);
    if (found < at) {
      at = found;
      mark = end;
    }
    held = std::max(held, last ? 0 : partial_tag_size(buffer_, end));
  }
  const bool ends = at != std::string::npos;
  const size_t size = ends ? at : buffer_.size() - held;
  add_body(std::string_view(buffer_).substr(0, size), ends || last, last && !ends, delta);
  buffer_.erase(0, ends ? at + mark.size() : size);
  if (ends) part_ = Part::kHeader;
  return ends;
}

void HarmonyParser::add_body(std::string_view text, bool ends, bool last, OutputDelta& delta) {
  switch (part_) {
    case Part::kReasoning:
      return reasoning_.add(delta.reasoning, text, last);
    case Part::kContent:
      return content_.add(delta.content, text, last);
    case Part::kCall:
      return add_arguments(text, ends, delta);
    case Part::kHeader:
      return;
  }
}

void HarmonyParser::add_arguments(std::string_view text, bool ends, OutputDelta& delta) {
  arguments_ += text;
  if (!options_.call_pieces) {
    if (!ends) return;
    delta.tool_calls.push_back(
        {.id = "", .name = name_, .arguments = parsed(std::string(python_strip(arguments_)))});
    return;
  }
  const size_t sure = ends ? arguments_.size() : complete_utf8_prefix(arguments_);
  if (sure == 0 && !ends) return;
  CallPiece piece{.begins = !call_begun_, .arguments = arguments_.substr(0, sure), .ends = ends};
  if (piece.begins) piece.name = name_;
  call_begun_ = true;
  arguments_.erase(0, sure);
  delta.call_pieces.push_back(std::move(piece));
}

}  // namespace dure
