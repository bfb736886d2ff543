// The MQTT packets that the load generator sends, and the cutting of received bytes into frames. MQTT 3.1.1 (level 4) and 5.0 (level 5).
//
// It knows no sockets and no workload. It checks what it needs to stay in step with the broker, and leaves conformance to the test suites.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace mqtt {

constexpr uint8_t CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40, PUBREC = 0x50, PUBREL = 0x60, PUBCOMP = 0x70, SUBACK = 0x90, PINGRESP = 0xd0,
                  DISCONNECT = 0xe0;

// Bytes that wait to be written. Memory is kept when it is emptied, so a connection in steady state allocates nothing.
class OutBuffer {
 public:
  uint8_t* grow(size_t bytes) {
    if (end_ + bytes > data_.size()) data_.resize((end_ + bytes) * 2);
    uint8_t* at = data_.data() + end_;
    end_ += bytes;
    return at;
  }
  const uint8_t* begin() const { return data_.data() + at_; }
  size_t size() const { return end_ - at_; }
  void consume(size_t bytes) {
    at_ += bytes;
    if (at_ == end_) at_ = end_ = 0;
  }
  void clear() { at_ = end_ = 0; }

 private:
  std::vector<uint8_t> data_;
  size_t at_ = 0;
  size_t end_ = 0;
};

// One whole packet in the read buffer: the first byte, and the bytes after the Remaining Length.
struct Frame {
  uint8_t first;
  const uint8_t* body;
  const uint8_t* end;
};

enum class Cut { whole, needsMore, malformed };

// Looks for one whole packet in [at, end). On `whole`, `frame.end` is where the next one begins.
inline Cut cutFrame(const uint8_t* at, const uint8_t* end, Frame& frame) {
  if (end - at < 2) return Cut::needsMore;
  uint32_t length = 0;
  const uint8_t* p = at + 1;
  for (unsigned shift = 0;; shift += 7) {
    if (shift > 21) return Cut::malformed;
    if (p == end) return Cut::needsMore;
    length |= static_cast<uint32_t>(*p & 0x7f) << shift;
    if ((*p++ & 0x80) == 0) break;
  }
  if (static_cast<size_t>(end - p) < length) return Cut::needsMore;
  frame = {*at, p, p + length};
  return Cut::whole;
}

inline uint16_t readU16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }

// Reads a Variable Byte Integer and moves `p` behind it. Returns -1 when it does not fit before `end`.
inline int64_t readVarint(const uint8_t*& p, const uint8_t* end) {
  uint32_t value = 0;
  for (unsigned shift = 0; shift <= 21; shift += 7) {
    if (p >= end) return -1;
    value |= static_cast<uint32_t>(*p & 0x7f) << shift;
    if ((*p++ & 0x80) == 0) return value;
  }
  return -1;
}

inline unsigned varintBytes(size_t value) { return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4; }

inline uint8_t* writeU16(uint8_t* p, size_t value) {
  *p++ = static_cast<uint8_t>(value >> 8);
  *p++ = static_cast<uint8_t>(value);
  return p;
}

inline uint8_t* writeVarint(uint8_t* p, size_t value) {
  do {
    const uint8_t digit = value & 0x7f;
    value >>= 7;
    *p++ = value != 0 ? digit | 0x80 : digit;
  } while (value != 0);
  return p;
}

inline uint8_t* writeText(uint8_t* p, const char* text, size_t bytes) {
  p = writeU16(p, bytes);
  memcpy(p, text, bytes);
  return p + bytes;
}

// The username that goes with a password.
inline constexpr const char* username = "bench";

// CONNECT without will; with username and password where there is a password. With `isKept` it takes up the session of an earlier connection, and the session outlives this one; without, it
// asks for a new one that ends with the connection (Clean Session, Clean Start).
inline void connect(OutBuffer& out, int level, const std::string& clientId, unsigned keepAliveSeconds, bool isKept,
                    const std::string& password) {
  const size_t properties = level != 5 ? 0 : isKept ? 6 : 1;
  const size_t credentials = password.empty() ? 0 : 2 + strlen(username) + 2 + password.size();
  const size_t remaining = 10 + properties + 2 + clientId.size() + credentials;
  uint8_t* p = out.grow(1 + varintBytes(remaining) + remaining);
  *p++ = 0x10;
  p = writeVarint(p, remaining);
  p = writeText(p, "MQTT", 4);
  *p++ = static_cast<uint8_t>(level);
  *p++ = (isKept ? 0 : 0x02) | (password.empty() ? 0 : 0xc0);
  p = writeU16(p, keepAliveSeconds);
  if (properties > 0) *p++ = static_cast<uint8_t>(properties - 1);
  if (properties > 1) {
    *p++ = 0x11;  // Session Expiry Interval: never
    p = writeU16(p, 0xffff);
    p = writeU16(p, 0xffff);
  }
  p = writeText(p, clientId.data(), clientId.size());
  if (password.empty()) return;
  p = writeText(p, username, strlen(username));
  writeText(p, password.data(), password.size());
}

inline void subscribe(OutBuffer& out, int level, uint16_t packetId, const std::string& filter, unsigned qos) {
  const size_t remaining = 2 + (level == 5 ? 1 : 0) + 2 + filter.size() + 1;
  uint8_t* p = out.grow(1 + varintBytes(remaining) + remaining);
  *p++ = 0x82;
  p = writeVarint(p, remaining);
  p = writeU16(p, packetId);
  if (level == 5) *p++ = 0;
  p = writeText(p, filter.data(), filter.size());
  *p = static_cast<uint8_t>(qos);
}

// Writes all of a PUBLISH but the payload, and returns where the payload's `payloadBytes` bytes go.
inline uint8_t* publish(OutBuffer& out, int level, unsigned qos, uint16_t packetId, const std::string& topic, size_t payloadBytes) {
  const size_t remaining = 2 + topic.size() + (qos > 0 ? 2 : 0) + (level == 5 ? 1 : 0) + payloadBytes;
  uint8_t* p = out.grow(1 + varintBytes(remaining) + remaining);
  *p++ = static_cast<uint8_t>(PUBLISH | qos << 1);
  p = writeVarint(p, remaining);
  p = writeText(p, topic.data(), topic.size());
  if (qos > 0) p = writeU16(p, packetId);
  if (level == 5) *p++ = 0;
  return p;
}

// PUBACK, PUBREC, PUBREL or PUBCOMP with success, which both levels write in the same four bytes.
inline void acknowledge(OutBuffer& out, uint8_t type, uint16_t packetId) {
  uint8_t* p = out.grow(4);
  *p++ = type == PUBREL ? 0x62 : type;
  *p++ = 2;
  writeU16(p, packetId);
}

inline void pingreq(OutBuffer& out) { writeU16(out.grow(2), 0xc000); }
inline void disconnect(OutBuffer& out) { writeU16(out.grow(2), 0xe000); }

// A received PUBLISH; the payload is [payload, end).
struct Publication {
  unsigned qos;
  uint16_t packetId;  // 0 with QoS 0
  const uint8_t* payload;
  const uint8_t* end;
};

// False when the packet is malformed.
inline bool readPublish(const Frame& frame, int level, Publication& publication) {
  const uint8_t* p = frame.body;
  publication = {frame.first >> 1u & 3u, 0, p, frame.end};
  if (frame.end - p < 2) return false;
  p += 2 + readU16(p);
  if (publication.qos > 0) {
    if (frame.end - p < 2) return false;
    publication.packetId = readU16(p);
    p += 2;
  }
  if (level == 5) {
    const int64_t properties = readVarint(p, frame.end);
    if (properties < 0 || frame.end - p < properties) return false;
    p += properties;
  }
  publication.payload = p;
  return true;
}

// Whether a received CONNACK says that the broker had a session for this client.
inline bool readSessionPresent(const Frame& frame) { return frame.end > frame.body && (frame.body[0] & 1) != 0; }

// What a received CONNACK says: 0 is success; for v5 `receiveMaximum` is set from its property.
inline uint8_t readConnack(const Frame& frame, int level, unsigned& receiveMaximum) {
  receiveMaximum = 65535;
  if (frame.end - frame.body < 2) return 0xff;
  const uint8_t code = frame.body[1];
  if (level != 5 || code != 0) return code;
  const uint8_t* p = frame.body + 2;
  const int64_t length = readVarint(p, frame.end);
  if (length < 0 || frame.end - p < length) return 0xff;
  for (const uint8_t* end = p + length; p < end;) {
    switch (*p++) {
      case 0x21:  // Receive Maximum
        receiveMaximum = readU16(p);
        p += 2;
        break;
      case 0x22: case 0x13:  // Topic Alias Maximum, Server Keep Alive
        p += 2;
        break;
      case 0x11: case 0x27:  // Session Expiry Interval, Maximum Packet Size
        p += 4;
        break;
      case 0x24: case 0x25: case 0x28: case 0x29: case 0x2a:  // Maximum QoS and the four "available" bytes
        p += 1;
        break;
      case 0x12: case 0x15: case 0x1a: case 0x1c: case 0x1f: case 0x16:  // texts and binary data
        p += 2 + readU16(p);
        break;
      case 0x26:  // User Property
        p += 2 + readU16(p);
        p += 2 + readU16(p);
        break;
      default:
        return 0xff;
    }
  }
  return 0;
}

}  // namespace mqtt
