// Tensors of a file, on libuv's thread pool: mapped where the bytes lie as TensorFlow needs them, else read straight to where they stay.
//
// Part of graph_functions.cc. A fresh page costs more to have (2 µs on the virtual machines measured) than to copy; a mapped file's pages are there.
// The mapping is private: what is written to such a tensor is never in the file. As with every mapped checkpoint (safetensors' own reader maps too),
// a file must not be cut short while a model has it; one that is replaced by renaming another over it, as this library writes, is not.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace tfnodejs {
namespace {

// TensorFlow's Allocator::kAllocatorAlignment.
constexpr uint64_t kTensorAlignment = 64;
// Smaller tensors are read: a mapping is one more of the 65,530 that Linux allows a process.
constexpr size_t kLeastMapped = 1 << 20;

// Pages of a file, while anyone has them.
class Mapping {
 public:
  Mapping(void *start, size_t length) : start_(start), length_(length) {}
  ~Mapping() { munmap(start_, length_); }
  Mapping(const Mapping &) = delete;
  Mapping &operator=(const Mapping &) = delete;

  // Has the pages ready before they are touched, one by one, by whoever computes with them. Nothing is copied; a kernel before 5.14 refuses.
  void Populate() const {
#ifdef MADV_POPULATE_READ
    madvise(start_, length_, MADV_POPULATE_READ);
#endif
  }

 private:
  void *const start_;
  const size_t length_;
};

// What ExecuteRead was asked for and what it found.
struct FileRead {
  TFJSBackend *backend;
  std::string path;
  uint64_t offset;
  TF_DataType dtype;
  std::vector<int64_t> shape;
  size_t length;
  napi_deferred deferred;
  napi_async_work work;
  TF_Tensor *tensor = nullptr;
  std::shared_ptr<Mapping> mapping;  // The tensor's own, where it has one.
  std::string error;

  ~FileRead() {
    if (tensor) TF_DeleteTensor(tensor);
  }
};

// An open file, closed at the end of its scope.
class OpenFile {
 public:
  explicit OpenFile(const std::string &path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (fd_ >= 0) close(fd_);
  }
  OpenFile(const OpenFile &) = delete;
  OpenFile &operator=(const OpenFile &) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

void LetGo(void *, size_t, void *mapping) { delete static_cast<std::shared_ptr<Mapping> *>(mapping); }

// The tensor on the file's own pages; null where they can't be had so, or lie past the file's end (touching them would be a SIGBUS).
TF_Tensor *MapTensor(int fd, FileRead *read) {
  if (read->offset % kTensorAlignment != 0 || read->length < kLeastMapped) return nullptr;
  struct stat file;
  if (fstat(fd, &file) != 0 || static_cast<uint64_t>(file.st_size) < read->offset + read->length) return nullptr;
  const uint64_t before = read->offset % static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const size_t length = read->length + before;
  void *const start = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, static_cast<off_t>(read->offset - before));
  if (start == MAP_FAILED) return nullptr;
  read->mapping = std::make_shared<Mapping>(start, length);
  return TF_NewTensor(read->dtype, read->shape.data(), static_cast<int>(read->shape.size()), static_cast<char *>(start) + before, read->length, LetGo,
                      new std::shared_ptr<Mapping>(read->mapping));
}

// A tensor of its own memory, filled from the file; null and `error` where that fails.
TF_Tensor *CopyTensor(int fd, const FileRead &read, std::string *error) {
  TF_Tensor *const tensor = TF_AllocateTensor(read.dtype, read.shape.data(), static_cast<int>(read.shape.size()), read.length);
  if (tensor == nullptr || TF_TensorByteSize(tensor) != read.length) {
    *error = "no memory for " + std::to_string(read.length) + " bytes";
    return tensor;
  }
  char *const to = static_cast<char *>(TF_TensorData(tensor));
  size_t done = 0;
  errno = 0;
  while (done < read.length) {
    const ssize_t count = pread(fd, to + done, std::min<size_t>(read.length - done, 1 << 26), static_cast<off_t>(read.offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  if (done < read.length) *error = errno == 0 ? "the file ends early" : std::strerror(errno);
  return tensor;
}

void ExecuteRead(napi_env, void *data) {
  FileRead *const read = static_cast<FileRead *>(data);
  const OpenFile file(read->path);
  if (file.fd() < 0) {
    read->error = std::strerror(errno);
    return;
  }
  read->tensor = MapTensor(file.fd(), read);
  if (read->tensor == nullptr) read->tensor = CopyTensor(file.fd(), *read, &read->error);
}

using Mappings = std::vector<std::weak_ptr<Mapping>>;

// Mappings whose pages are to be had before they are touched; they are their tensors', and may be gone by then.
class Unpopulated {
 public:
  void Add(const std::shared_ptr<Mapping> &mapping) {
    const std::lock_guard<std::mutex> lock(mutex_);
    mappings_.push_back(mapping);
  }
  Mappings TakeAll() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(mappings_, {});
  }
  // Of all of the process's environments.
  static Unpopulated &Shared() {
    static Unpopulated *const shared = new Unpopulated();
    return *shared;
  }

 private:
  std::mutex mutex_;
  Mappings mappings_;
};

// populateMapped(): has the pages of all tensors that were mapped since the last call ready while the program goes on. Not as each is mapped: a process
// can't be given another mapping while pages of one come. On a thread that nobody waits for, as libuv's are waited for at the process's end: from a
// slow disk pages may take minutes.
napi_value PopulateMapped(napi_env, napi_callback_info) {
  Mappings mappings = Unpopulated::Shared().TakeAll();
  if (mappings.empty()) return nullptr;
  const auto populate = [mappings = std::move(mappings)] {
    for (const auto &mapping : mappings) {
      if (const std::shared_ptr<Mapping> alive = mapping.lock()) alive->Populate();
    }
  };
  try {
    std::thread(populate).detach();
  } catch (const std::system_error &) {  // No thread to be had: each page comes when it is touched.
  }
  return nullptr;
}

void CompleteRead(napi_env env, napi_status, void *data) {
  const std::unique_ptr<FileRead> read(static_cast<FileRead *>(data));
  napi_delete_async_work(env, read->work);
  TF_AutoStatus status;
  TFE_TensorHandle *handle = nullptr;
  if (read->error.empty()) {
    handle = TFE_NewTensorHandle(read->tensor, status.status);
    if (TF_GetCode(status.status) != TF_OK) read->error = TF_Message(status.status);
  }
  if (!read->error.empty()) return Reject(env, read->deferred, read->path + ": " + read->error);
  if (read->mapping) Unpopulated::Shared().Add(read->mapping);
  napi_resolve_deferred(env, read->deferred, read->backend->GenerateOutputTensorInfo(env, handle));
}

// readTensor(path, offset, length, dtype, shape): Promise of {id, dtype, shape}
napi_value ReadTensor(napi_env env, napi_callback_info info) {
  size_t argc = 5;
  napi_value args[5];
  ENSURE_NAPI_OK_RETVAL(env, napi_get_cb_info(env, info, &argc, args, nullptr, nullptr), nullptr);
  std::string path;
  int64_t offset, length;
  int32_t dtype;
  uint32_t rank = 0;
  if (argc < 5 || GetStringParam(env, args[0], path) != napi_ok || napi_get_value_int64(env, args[1], &offset) != napi_ok ||
      napi_get_value_int64(env, args[2], &length) != napi_ok || napi_get_value_int32(env, args[3], &dtype) != napi_ok ||
      napi_get_array_length(env, args[4], &rank) != napi_ok) {
    napi_throw_type_error(env, nullptr, "readTensor: (path, offset, length, dtype, shape) expected");
    return nullptr;
  }
  TFJSBackend *const backend = GetTFJSBackend(env);
  if (!backend) return nullptr;
  std::vector<int64_t> shape(rank);
  for (uint32_t i = 0; i < rank; i++) {
    napi_value dim;
    napi_get_element(env, args[4], i, &dim);
    napi_get_value_int64(env, dim, &shape[i]);
  }
  FileRead *const read = new FileRead{backend,         path,    static_cast<uint64_t>(offset), static_cast<TF_DataType>(dtype), shape,
                                      static_cast<size_t>(length), nullptr, nullptr};
  return StartWork(env, "tfjs-rft:readTensor", read, ExecuteRead, CompleteRead);
}

}  // namespace
}  // namespace tfnodejs
