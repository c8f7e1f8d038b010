// Fuzzes the JSONL reader: every line is a record or has a problem; what is written back reads as
// the same record.
#include "data/jsonl.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
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

// What was written back is never refused.
bool reads_as(const dure::Path& path, const dure::Record& record) {
  try {
    dure::JsonlReader reader(path);
    dure::Record copy;
    return reader.next(copy) == dure::JsonlReader::Outcome::kRecord && copy.text == record.text &&
           copy.messages == record.messages && copy.tools == record.tools;
  } catch (const dure::Error&) {
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using Outcome = dure::JsonlReader::Outcome;
  const dure::Path path = folder().path() / "a.jsonl", again = folder().path() / "b.jsonl";
  put(path, {reinterpret_cast<const char*>(data), size});
  dure::Record record;
  try {
    dure::JsonlReader reader(path);
    for (Outcome outcome = reader.next(record); outcome != Outcome::kEnd;
         outcome = reader.next(record)) {
      if (outcome == Outcome::kBad) {
        if (reader.problem().empty()) std::abort();
        continue;
      }
      put(again, dure::record_line(record));
      if (!reads_as(again, record)) std::abort();
    }
  } catch (const dure::Error&) {
    // UTF-16, or not text at all: refused as a whole.
  }
  return 0;
}
