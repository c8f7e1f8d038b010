// Fuzzes the JSONL reader: every line is a record or has a problem; what is written back reads as
// the same record.
#include "data/jsonl.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace {

const dure::TemporaryFolder& folder() {
  static const dure::TemporaryFolder kept;
  return kept;
}

void put(const dure::Path& path, std::string_view bytes) {  // Without the fsync of write_file.
  FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size())
    std::abort();
  std::fclose(file);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using Outcome = dure::JsonlReader::Outcome;
  const dure::Path path = folder().path() / "a.jsonl", again = folder().path() / "b.jsonl";
  put(path, {reinterpret_cast<const char*>(data), size});
  std::optional<dure::JsonlReader> opened;
  try {
    opened.emplace(path);
  } catch (const dure::Error&) {
    return 0;  // UTF-16, or not text at all: refused as a whole.
  }
  dure::JsonlReader& reader = *opened;
  dure::Record record, copy;
  for (Outcome outcome = reader.next(record); outcome != Outcome::kEnd;
       outcome = reader.next(record)) {
    if (outcome == Outcome::kBad) {
      if (reader.problem().empty()) std::abort();
      continue;
    }
    put(again, dure::record_line(record));
    dure::JsonlReader second(again);
    if (second.next(copy) != Outcome::kRecord || copy.text != record.text ||
        copy.messages != record.messages || copy.tools != record.tools)
      std::abort();
  }
  return 0;
}
