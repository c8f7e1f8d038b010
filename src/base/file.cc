// POSIX calls, their failures told as Errors with the path. What is staged is written under a
// hidden name beside the target, synced, renamed, and the parent folder synced; a lock on a staged
// file says that its writer lives (stale_files.cc asks).
#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/progress.h"

namespace dure {
namespace {

class Descriptor {
 public:
  Descriptor(const Path& path, int flags, const char* purpose)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (value_ < 0) fail_errno(fmt::format("cannot {} {}", purpose, path.string()));
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

void write_all(int descriptor, std::string_view bytes, const Path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(fmt::format("cannot write {}", path.string()));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void sync_parent(const Path& path) {
  const Path parent = path.has_parent_path() ? path.parent_path() : Path(".");
  const int descriptor = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0) {
    ::fsync(descriptor);
    ::close(descriptor);
  }
}

Path temporary_beside(const Path& target) {
  static int counter = 0;
  return target.parent_path() /
         fmt::format(".{}.tmp-{}-{}", target.filename().string(), ::getpid(), counter++);
}

// The system's limits: a path that ends in a separator names the folder itself.
Path without_trailing_slash(Path path) {
  return path.filename().empty() ? path.parent_path() : std::move(path);
}

// What the links at `path` lead to, whether it is there or not.
Path followed(Path path) {
  constexpr int kLinksMax = 40;  // As the system has it.
  std::error_code error;
  for (int i = 0; i < kLinksMax && std::filesystem::is_symlink(path, error); ++i) {
    const Path to = std::filesystem::read_symlink(path, error);
    path = to.is_absolute() ? to : path.parent_path() / to;
  }
  return path;
}

// A device, pipe or socket: it stays what it is, nothing is renamed over it.
bool is_written_directly(const Path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
         !std::filesystem::is_directory(status);
}

void sync_tree(const Path& folder) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const Descriptor descriptor(entry.path(), O_RDONLY, "sync");
    ::fsync(descriptor.get());
  }
}

}  // namespace

std::string read_file(const Path& path) {
  const Descriptor descriptor(path, O_RDONLY, "read");
  struct stat status {};
  if (::fstat(descriptor.get(), &status) == 0 && S_ISDIR(status.st_mode)) {
    fail(ErrorCode::kInvalidArgument, "cannot read {}: it is a folder, a file is needed",
         path.string());
  }
  std::string content;
  content.reserve(static_cast<size_t>(status.st_size));
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = ::read(descriptor.get(), buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(fmt::format("cannot read {}", path.string()));
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
  }
}

std::string read_stdin() {
  std::string content;
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno("cannot read standard input");
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
  }
}

void write_file(const Path& path, std::string_view content) {
  StagedFile file(path);
  file.write(content);
  file.commit();
}

void check_replaceable_file(const Path& target, bool replace) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(target, error);
  if (std::filesystem::is_directory(status)) {
    fail(ErrorCode::kInvalidArgument, "{} is a folder; the name of a file is needed",
         target.string());
  }
  if (std::filesystem::is_regular_file(status) && !replace) {
    fail(ErrorCode::kInvalidArgument,
         "{} is there already; give another name, or --force to replace it", target.string());
  }
}

void append_file(const Path& path, std::string_view content) {
  const Descriptor descriptor(path, O_WRONLY | O_CREAT | O_APPEND, "append to");
  write_all(descriptor.get(), content, path);
}

bool path_exists(const Path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

void make_folders(const Path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    errno = error.value();
    fail_errno(fmt::format("cannot make folder {}", path.string()));
  }
}

void check_free_space(const Path& target, int64_t bytes) {
  std::error_code error;
  const Path folder = target.has_parent_path() ? target.parent_path() : Path(".");
  const auto space = std::filesystem::space(folder, error);
  if (!error && space.available < static_cast<uintmax_t>(bytes))
    fail(ErrorCode::kNoSpace, "{}: the file needs {}, {} are free there", target.string(),
         format_bytes(static_cast<double>(bytes)),
         format_bytes(static_cast<double>(space.available)));
}

int64_t file_size(const Path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) fail_errno(fmt::format("cannot read {}", path.string()));
  return status.st_size;
}

MappedFile::MappedFile(const Path& path) : path_(path) {
  const Descriptor descriptor(path, O_RDONLY, "read");
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0)
    fail_errno(fmt::format("cannot read {}", path.string()));
  if (S_ISDIR(status.st_mode)) {
    fail(ErrorCode::kInvalidArgument, "cannot read {}: it is a folder, a file is needed",
         path.string());
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor.get(), 0);
  if (data == MAP_FAILED) fail_errno(fmt::format("cannot map {}", path.string()));
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

StagedFile::StagedFile(Path target)
    : target_(followed(std::move(target))),
      temporary_(is_written_directly(target_) ? Path() : temporary_beside(target_)) {
  descriptor_ = direct()
                    ? ::open(target_.c_str(), O_WRONLY | O_CLOEXEC)
                    : ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_errno(fmt::format("cannot write {}", target_.string()));
  if (direct()) return;
  ::flock(descriptor_, LOCK_EX | LOCK_NB);  // Says that the writer lives; where it cannot, no harm.
}

StagedFile::~StagedFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!committed_ && !direct()) ::unlink(temporary_.c_str());
}

void StagedFile::write(std::string_view bytes) {
  write_all(descriptor_, bytes, target_);
  size_ += static_cast<int64_t>(bytes.size());
}

void StagedFile::write_at(int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(fmt::format("cannot write {}", target_.string()));
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
}

void StagedFile::commit() {
  DURE_CHECK(!committed_);
  if (::fsync(descriptor_) != 0 && errno != EINVAL)
    fail_errno(fmt::format("cannot write {}", target_.string()));
  ::close(std::exchange(descriptor_, -1));
  committed_ = direct();
  if (committed_) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0)
    fail_errno(fmt::format("cannot write {}", target_.string()));
  committed_ = true;
  sync_parent(target_);
}

StagedFolder::StagedFolder(Path target)
    : target_(without_trailing_slash(std::move(target))), temporary_(temporary_beside(target_)) {
  if (target_.has_parent_path()) make_folders(target_.parent_path());
  std::filesystem::remove_all(temporary_);
  make_folders(temporary_);
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!committed_) std::filesystem::remove_all(temporary_, ignored);
}

void StagedFolder::commit() {
  DURE_CHECK(!committed_);
  sync_tree(temporary_);
  // rename(2) cannot replace a full folder: the old one steps aside first and goes after the new
  // one stands.
  const Path old = temporary_.string() + ".old";
  const bool replace = path_exists(target_);
  if (replace && ::rename(target_.c_str(), old.c_str()) != 0)
    fail_errno(fmt::format("cannot replace {}", target_.string()));
  if (::rename(temporary_.c_str(), target_.c_str()) != 0)
    fail_errno(fmt::format("cannot write {}", target_.string()));
  committed_ = true;
  sync_parent(target_);
  std::error_code ignored;
  if (replace) std::filesystem::remove_all(old, ignored);
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "dure-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr)
    fail_errno(fmt::format("cannot make a folder {}", pattern));
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace dure
