// TensorBoard event files, as a resumed run reads its own: whatever the bytes, an Error, or frames
// that lie inside them. Tried as a file, and as the payload of whole frames, whose checksums a
// fuzzer does not guess.
#include "train/event_file.h"

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/error.h"

using namespace dure;

namespace {

void read(std::string_view bytes) {
  try {
    const EventFileContent content = read_event_file(bytes);
    DURE_CHECK(content.whole_bytes <= std::ssize(bytes), "{}", content.whole_bytes);
    int64_t last = -1;
    for (const auto& [begin, step] : content.frames) {
      DURE_CHECK(begin > last && begin < content.whole_bytes, "{} after {}", begin, last);
      last = begin;
    }
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  read(bytes);
  read(event_frame(event_version_payload(1)) + event_frame(bytes) + event_frame(bytes));
  return 0;
}
