// What every message of the generator holds, so that it is known again when it arrives: who sent it to whom, its number, when, and a fixed filling.
//
// In bytes: publisher u32, receiver u32 (all ones where any may get it), sequence u32, length u32, send time u64, then the filling. It knows no MQTT.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

struct Header {
  uint32_t publisher;
  uint32_t receiver;
  uint32_t sequence;
  uint32_t length;
  uint64_t time;
};
static_assert(sizeof(Header) == 24);

class Payload {
 public:
  explicit Payload(uint32_t bytes) : filling_(bytes) {
    for (size_t i = 0; i < bytes; i++) filling_[i] = static_cast<uint8_t>('a' + i % 26);
  }

  uint32_t bytes() const { return static_cast<uint32_t>(filling_.size()); }

  void write(uint8_t* p, const Header& header) const {
    memcpy(p, &header, sizeof header);
    memcpy(p + sizeof header, filling_.data() + sizeof header, filling_.size() - sizeof header);
  }

  // False when length or filling are not what was written.
  bool read(const uint8_t* p, const uint8_t* end, Header& header) const {
    if (end - p != static_cast<ptrdiff_t>(filling_.size())) return false;
    memcpy(&header, p, sizeof header);
    return header.length == bytes() && memcmp(p + sizeof header, filling_.data() + sizeof header, filling_.size() - sizeof header) == 0;
  }

 private:
  std::vector<uint8_t> filling_;
};
