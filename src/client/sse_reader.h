// client/sse_reader.h: server-sent events out of bytes that come in pieces.
//
// As the standard reads them: lines end with \n, \r\n or \r, comments are nothing, several data
// lines are one text. Not here: the bytes (http_client.h), what events mean.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace dure {

struct SseEvent {
  std::string name;  // empty: "message"
  std::string data;
};

class SseReader {
 public:
  using OnEvent = std::function<void(const SseEvent&)>;
  // Calls `say` with each event that is whole; one without data is none.
  void push(std::string_view bytes, const OnEvent& say);

 private:
  void take_line(std::string_view line, const OnEvent& say);

  std::string line_;
  bool after_return_ = false, first_line_ = true;
  bool any_data_ = false;
  SseEvent event_;
};

}  // namespace dure
