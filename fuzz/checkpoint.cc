// Checkpoint manifests: an Error, or a checkpoint whose files all lie in its folder. Tried as it
// comes, and with the hash of itself put right, so that the fuzzer gets past it; and the same bytes
// as a metrics file.
#include "train/checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "tensor/cpu_stream.h"
#include "train/metrics.h"

using namespace dure;

namespace {

void put(const Path& path, std::string_view bytes) {  // Without the fsync of write_file.
  FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size())
    std::abort();
  std::fclose(file);
}

void open(const Path& folder) {
  try {
    const Checkpoint checkpoint(folder);
    CpuStream stream(1);
    checkpoint.load("model.safetensors", {}, stream);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TemporaryFolder folder;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Path manifest = folder.path() / "manifest.json";
  put(folder.path() / "model.safetensors", std::string_view("\x02\0\0\0\0\0\0\0{}", 10));
  put(manifest, text);
  open(folder.path());
  try {
    for (const Json& row : read_metrics(manifest)) row.dump();
  } catch (const Error&) {
  }
  try {
    const Json given = parse_json(text, "fuzz");
    Json json = Json::object();
    for (const auto& [key, value] : given.as_object()) {
      if (key != "manifest_xxh64") json[key] = value;
    }
    char hash[17];
    std::snprintf(hash, sizeof(hash), "%016llx",
                  static_cast<unsigned long long>(xxh64(json.dump())));
    json["manifest_xxh64"] = Json(hash);
    put(manifest, json.dump());
    open(folder.path());
  } catch (const Error&) {
  }
  return 0;
}
