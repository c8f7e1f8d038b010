// Fuzzes token shards: any bytes open and read inside their file, or give an Error.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "data/shard.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const dure::TemporaryFolder folder;
  const dure::Path path = folder.path() / "a.shard";
  FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size) std::abort();
  std::fclose(file);
  try {
    const dure::Shard shard(path);
    dure::TokenDocument document;
    int64_t tokens = 0;
    for (int64_t i = 0; i < shard.document_count(); ++i) {
      shard.read(i, document);
      tokens += std::ssize(document.ids);
    }
    if (tokens != shard.token_count()) std::abort();
    shard.verify(1 << 20);
  } catch (const dure::Error&) {
  }
  return 0;
}
