// Writing a checkpoint beside its place, and checking one before it is trusted.
#include "train/checkpoint.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <unordered_set>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "formats/safetensors.h"
#include "tensor/host_array.h"
#include "train/shared_file.h"

namespace dure {
namespace {

constexpr int64_t kFormatVersion = 1;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kPrefix = "step-";
constexpr const char* kLock = ".lock";

std::string hash_text(std::string_view bytes) { return fmt::format("{:016x}", xxh64(bytes)); }

void write_tensors(const Path& path, const std::vector<NamedTensor>& tensors, Stream* stream) {
  std::vector<TensorInfo> infos;
  for (const NamedTensor& t : tensors) infos.push_back({t.name, t.view.dtype, t.view.shape});
  SafetensorsWriter writer(path, std::move(infos), {{"format", "pt"}});
  Buffer room;
  for (const NamedTensor& t : tensors)
    writer.write(t.name, stream == nullptr ? t.view : on_host(t.view, room, *stream));
  writer.commit();
}

Json describe_file(const Path& path) {
  const MappedFile file(path);
  Json out = Json::object();
  out["bytes"] = Json(static_cast<int64_t>(file.bytes().size()));
  out["xxh64"] = Json(hash_text(file.text()));
  return out;
}

// The manifest's hash of itself: over its text without the field.
std::string with_own_hash(Json manifest) {
  manifest["manifest_xxh64"] = Json(hash_text(manifest.dump()));
  return manifest.dump(2) + "\n";
}

Json read_manifest(const Path& folder) {
  const Path path = folder / kManifest;
  if (!path_exists(path)) {
    fail(ErrorCode::kNotFound, "{} is not a checkpoint: it has no {}", folder.string(), kManifest);
  }
  Json manifest, plain = Json::object();
  try {
    manifest = load_json(path);
    for (const auto& [key, value] : manifest.as_object("manifest")) {
      if (key != "manifest_xxh64") plain[key] = value;
    }
    if (hash_text(plain.dump()) == manifest.at("manifest_xxh64").as_string()) return plain;
  } catch (const Error& error) {
    fail(ErrorCode::kCorrupt,
         "checkpoint {}: manifest.json cannot be read ({}); remove the folder to go on from an "
         "older one",
         folder.string(), error.what());
  }
  fail(ErrorCode::kCorrupt,
       "checkpoint {}: manifest.json was altered or cut off; remove the folder to go on from an "
       "older one",
       folder.string());
}

void verify_file(const Path& folder, const std::string& name, const Json& facts) {
  if (name.empty() || Path(name).filename() != Path(name)) {
    fail(ErrorCode::kCorrupt, "checkpoint {}: manifest.json names '{}', which is no file of it",
         folder.string(), name);
  }
  const Path path = folder / name;
  const auto damaged = [&](const std::string& how) {
    fail(ErrorCode::kCorrupt, "checkpoint {}: {} {}; remove the folder to go on from an older one",
         folder.string(), name, how);
  };
  if (!path_exists(path)) damaged("is missing");
  const MappedFile file(path);
  const int64_t size = static_cast<int64_t>(file.bytes().size()),
                wanted = facts.at("bytes").as_int();
  if (size != wanted) damaged(fmt::format("has {} bytes where the manifest says {}", size, wanted));
  if (hash_text(file.text()) != facts.at("xxh64").as_string())
    damaged("does not match its hash: its bytes were altered");
}

[[noreturn]] void fail_tensor(const Path& folder, const std::string& file, const std::string& name,
                              const std::string& how) {
  fail(ErrorCode::kCorrupt,
       "checkpoint {}: tensor {} of {} {}; was the model's or optimiser's configuration changed?",
       folder.string(), name, file, how);
}

void require_alike(const Path& folder, const std::string& file, const TensorInfo& info,
                   const NamedTensor& target) {
  if (info.dtype == target.view.dtype && info.shape == target.file_shape()) return;
  fail_tensor(
      folder, file, target.name,
      fmt::format("is {} {}, the run needs {} {}", dtype_info(info.dtype).name, info.shape.text(),
                  dtype_info(target.view.dtype).name, target.file_shape().text()));
}

// A folder goes in two steps, so that a kill in between cannot leave half a checkpoint under a
// checkpoint's name.
void remove_checkpoint(const Path& path) {
  const Path gone = path.parent_path() / ("." + path.filename().string() + ".gone");
  std::error_code ignored;
  std::filesystem::rename(path, gone, ignored);
  std::filesystem::remove_all(gone, ignored);
}

// The open lock file. One that its holder removed between our opening and locking it locks nothing:
// then again.
int take_lock(const Path& folder) {
  const Path path = folder / kLock;
  while (true) {
    const int lock = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) fail_errno(fmt::format("cannot write {}", path.string()));
    if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
      ::close(lock);
      fail(ErrorCode::kInvalidArgument,
           "{}: another process is training into this folder; wait for it, or choose another "
           "output",
           folder.string());
    }
    struct stat ours {
    }, there{};
    if (::fstat(lock, &ours) == 0 && ::stat(path.c_str(), &there) == 0 &&
        ours.st_ino == there.st_ino)
      return lock;
    ::close(lock);
  }
}

std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || name.size() == std::strlen(kPrefix)) return std::nullopt;
  int64_t step = 0;
  for (const char c : name.substr(std::strlen(kPrefix))) {
    if (c < '0' || c > '9' || step > INT64_MAX / 10 - 1) return std::nullopt;
    step = step * 10 + (c - '0');
  }
  return step;
}

}  // namespace

Checkpoint::Checkpoint(const Path& folder) : path_(folder) {
  const Json manifest = read_manifest(folder);
  if (const int64_t version = manifest.at("version").as_int(); version != kFormatVersion) {
    fail(ErrorCode::kUnsupported, "checkpoint {}: format version {}, this program reads {}",
         folder.string(), version, kFormatVersion);
  }
  for (const auto& [name, facts] : manifest.at("files").as_object())
    verify_file(folder, name, facts);
  step_ = manifest.at("step").as_int();
  state_ = manifest.at("state");
}

void Checkpoint::load(const std::string& file, const std::vector<NamedTensor>& targets,
                      Stream& stream) const {
  const SafetensorsFile source(path_ / file);
  std::unordered_set<std::string_view> wanted;
  for (const NamedTensor& target : targets) {
    wanted.insert(target.name);
    if (source.find(target.name) == nullptr) fail_tensor(path_, file, target.name, "is missing");
  }
  for (const TensorInfo& info : source.tensors()) {
    if (!wanted.contains(info.name)) fail_tensor(path_, file, info.name, "is not used by the run");
  }
  load_shared(file, targets, stream);
}

std::vector<std::string> Checkpoint::load_shared(const std::string& file,
                                                 const std::vector<NamedTensor>& targets,
                                                 Stream& stream) const {
  const SafetensorsFile source(path_ / file);
  std::vector<std::string> apart;
  std::unordered_set<std::string_view> wanted;
  for (const NamedTensor& target : targets) {
    wanted.insert(target.name);
    const TensorInfo* info = source.find(target.name);
    if (info != nullptr) require_alike(path_, file, *info, target);
    if (info == nullptr) apart.push_back(target.name);
  }
  for (const TensorInfo& info : source.tensors()) {
    if (!wanted.contains(info.name)) apart.push_back(info.name);
  }
  for (const NamedTensor& target : targets) {
    if (source.find(target.name) == nullptr || target.elsewhere) continue;
    const ConstTensorView whole = source.view(target.name);
    copy_from_host(whole.rows(target.first_row, target.view.dim(0)), target.view, stream);
  }
  return apart;
}

CheckpointStore::CheckpointStore(Path folder, int64_t keep_last, Group& group)
    : group_(group), output_(std::move(folder)), folder_(output_.path()), keep_last_(keep_last) {
  DURE_CHECK(keep_last >= 1, "{}", keep_last);
  group_.together("the lock of the run", [&] {
    if (!group_.is_first()) return;
    lock_ = take_lock(folder_);
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().filename().string().starts_with(std::string(".") + kPrefix))
        std::filesystem::remove_all(entry.path(), ignored);
    }
  });
}

CheckpointStore::~CheckpointStore() {
  if (writing_.valid()) writing_.wait();
  if (lock_ < 0) return;
  std::error_code ignored;
  // A run that failed before it left anything leaves no folder either (output_).
  if (output_.is_new() && !latest()) std::filesystem::remove(folder_ / kLock, ignored);
  ::close(lock_);
}

void CheckpointStore::create(const Path& folder, const CheckpointContent& content) const {
  for (const auto& [name, text] : content.files) {
    make_folders((folder / name).parent_path());
    write_file(folder / name, text);
  }
  for (const auto& [name, write] : content.writers) write(folder / name);
  if (group_.size() == 1) return;
  for (const auto& [name, tensors] : content.tensors) create_shared_file(folder / name, tensors);
}

void CheckpointStore::write_own(const Path& folder, const CheckpointContent& content) const {
  for (const auto& [name, tensors] : content.tensors) {
    if (group_.size() == 1) {
      write_tensors(folder / name, tensors, content.stream);
    } else {
      write_shared_file(folder / name, tensors, content.stream);
    }
  }
}

void CheckpointStore::finish(StagedFolder& staged, const CheckpointContent& content) const {
  Json files = Json::object();
  for (const auto& [name, tensors] : content.tensors)
    files[name] = describe_file(staged.path() / name);
  for (const auto& [name, text] : content.files) files[name] = describe_file(staged.path() / name);
  for (const auto& [name, write] : content.writers)
    files[name] = describe_file(staged.path() / name);
  Json manifest = Json::object();
  manifest["format"] = Json("dure-checkpoint");
  manifest["version"] = Json(kFormatVersion);
  manifest["step"] = Json(content.step);
  manifest["files"] = std::move(files);
  manifest["state"] = content.state;
  write_file(staged.path() / kManifest, with_own_hash(std::move(manifest)));
  staged.commit();
  const auto all = list_checkpoints(folder_);
  for (size_t i = 0; i + static_cast<size_t>(keep_last_) < all.size(); ++i)
    if (all[i].first != kept_) remove_checkpoint(all[i].second);
}

// Each part is agreed on before the next begins: a rank that cannot write its tensors leaves no
// checkpoint.
Path CheckpointStore::save(const CheckpointContent& content) {
  const Path target = folder_ / fmt::format("{}{:08d}", kPrefix, content.step);
  std::optional<StagedFolder> staged;
  std::string place;
  group_.together("starting a checkpoint", [&] {
    if (!group_.is_first()) return;
    staged.emplace(target);
    place = staged->path().string();
    create(place, content);
  });
  place = group_.all_gather_text(place, "the checkpoint's place")[0];
  group_.together("writing a checkpoint", [&] { write_own(place, content); });
  group_.together("committing a checkpoint", [&] {
    if (group_.is_first()) finish(*staged, content);
  });
  return target;
}

void CheckpointStore::save_beside(CheckpointContent content) {
  DURE_CHECK(!writing_.valid(), "a checkpoint is being written");
  const bool on_host = content.stream == nullptr || content.stream->device() == Device::kCpu;
  const bool beside = on_host && group_.any_thread();
  writing_ = std::async(
      beside ? std::launch::async : std::launch::deferred, [this, content = std::move(content)] {
        const auto start = std::chrono::steady_clock::now();
        if (group_.size() > 1) group_.set_place(fmt::format("checkpoint of step {}", content.step));
        save(content);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      });
  if (!beside) writing_.wait();
}

double CheckpointStore::finish() {
  DURE_CHECK(writing_.valid(), "no checkpoint is being written");
  return writing_.get();
}

std::optional<Path> CheckpointStore::latest() const { return latest_checkpoint(folder_); }

std::vector<std::pair<int64_t, Path>> list_checkpoints(const Path& folder) {
  std::vector<std::pair<int64_t, Path>> out;
  if (!path_exists(folder)) return out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && path_exists(entry.path() / kManifest)) out.emplace_back(*step, entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<Path> latest_checkpoint(const Path& folder) {
  const auto all = list_checkpoints(folder);
  return all.empty() ? std::nullopt : std::optional(all.back().second);
}

}  // namespace dure
