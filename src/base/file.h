// base/file.h: files as the rest of the program uses them: read whole, map, write whole or not at
// all.
//
// Every function throws Error with the path and what the system said. Nothing half-written is ever
// left under the final name: files and folders are written beside it (".NAME.tmp-PID") and renamed
// after fsync.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace dure {

using Path = std::filesystem::path;

std::string read_file(const Path& path);                      // Throws kNotFound, kPermission, kIo.
void write_file(const Path& path, std::string_view content);  // Atomic: temporary, fsync, rename.
// Throws kInvalidArgument where `target` is a folder, or a regular file and not `replace`
// (--force). Devices and pipes are written to as they are.
void check_replaceable_file(const Path& target, bool replace);
void append_file(const Path& path, std::string_view content);  // One write call; for logs.
bool path_exists(const Path& path);
void make_folders(const Path& path);
int64_t file_size(const Path& path);
std::string read_stdin();
// Throws kNoSpace where the disk of `target` has less than `bytes` free: before a large file is
// begun.
void check_free_space(const Path& target, int64_t bytes);

// A file mapped read-only for as long as the object lives. Empty files give an empty span.
class MappedFile {
 public:
  explicit MappedFile(const Path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const Path& path() const { return path_; }

 private:
  Path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// A file written in pieces beside its target and renamed by commit(); removed if never committed.
// A symbolic link stays one: what it points at is written. A device or pipe is written directly.
class StagedFile {
 public:
  explicit StagedFile(Path target);
  ~StagedFile();
  StagedFile(const StagedFile&) = delete;
  StagedFile& operator=(const StagedFile&) = delete;
  void write(std::string_view bytes);
  void write(const void* data, size_t size) { write({static_cast<const char*>(data), size}); }
  void write_at(int64_t offset, std::string_view bytes);
  int64_t size() const { return size_; }
  void commit();

 private:
  bool direct() const { return temporary_.empty(); }

  Path target_, temporary_;  // no temporary for what is written directly
  int descriptor_ = -1;
  int64_t size_ = 0;
  bool committed_ = false;
};

// A folder filled beside its target and renamed by commit(), which replaces an existing folder of
// that name.
class StagedFolder {
 public:
  explicit StagedFolder(Path target);
  ~StagedFolder();  // Removes what was not committed.
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;
  const Path& path() const { return temporary_; }  // Write files in here.
  void commit();

 private:
  Path target_, temporary_;
  bool committed_ = false;
};

// A fresh empty folder under $TMPDIR, removed with everything in it at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const Path& path() const { return path_; }

 private:
  Path path_;
};

}  // namespace dure
