// Line by line; an empty one ends an event.
#include "client/sse_reader.h"

#include <utility>

namespace dure {

void SseReader::push(std::string_view bytes, const OnEvent& say) {
  for (const char c : bytes) {
    const bool second_half = std::exchange(after_return_, c == '\r') && c == '\n';
    if (second_half) continue;
    if (c != '\n' && c != '\r') {
      line_ += c;
      continue;
    }
    const std::string line = std::exchange(line_, "");
    take_line(line, say);
  }
}

void SseReader::take_line(std::string_view line, const OnEvent& say) {
  if (std::exchange(first_line_, false) && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (line.empty()) {
    const SseEvent event = std::exchange(event_, {});
    if (std::exchange(any_data_, false)) say(event);
    return;
  }
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "event") event_.name = value;
  if (name != "data") return;
  if (std::exchange(any_data_, true)) event_.data += '\n';
  event_.data += value;
}

}  // namespace dure
