// A difference is refused by the name of its field. A file's content is its size and a hash of its
// first 64 MiB.
#include "train/run_identity.h"

#include "base/error.h"
#include "base/hash.h"

namespace dure {
namespace {

constexpr size_t kHashedBytes = size_t{64} << 20;

}  // namespace

std::string content_hash(const Path& path, const char* name) {
  const Path file = std::filesystem::is_directory(path) ? path / name : path;
  if (!path_exists(file)) return "";
  const MappedFile map(file);
  return fmt::format("{}:{:016x}", map.text().size(), xxh64(map.text().substr(0, kHashedBytes)));
}

void require_same_run(const Checkpoint& checkpoint, const Json& identity, const Path& folder) {
  const Json* then = checkpoint.state().find("identity");
  for (const auto& [name, value] : identity.as_object()) {
    const Json* was = then != nullptr ? then->find(name) : nullptr;
    if (was != nullptr && *was == value) continue;
    fail(
        ErrorCode::kInvalidArgument,
        "{} holds a run with another '{}' ({} there, {} here); choose another output, or remove it",
        folder.string(), name, was == nullptr ? "nothing" : was->dump(), value.dump());
  }
}

}  // namespace dure
