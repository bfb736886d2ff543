// WebSocket (RFC 6455), plain or over TLS: the upgrade, and one binary frame for all that a turn has written.
//
// Client frames are masked with a random key each, as a browser does it. Frames of the broker are taken apart in place.
#pragma once

#include <algorithm>
#include <memory>

#include "wire.hpp"

class WebSocketWire final : public StreamWire {
 public:
  // `below`: what is between this and the socket; null: nothing. `seed` is of the masking keys.
  WebSocketWire(std::unique_ptr<StreamWire> below, uint64_t seed) : below_(std::move(below)), random_(seed * 0x9e3779b97f4a7c15ull | 1) {}

  void begin(int fd) override {
    if (below_ != nullptr) below_->begin(fd);
    else ask();
  }

  bool isOpen() const override { return isOpen_; }
  bool isResumed() const override { return below_ != nullptr && below_->isResumed(); }

  void take(const uint8_t* bytes, size_t count) override { frame(BINARY, bytes, count); }

  Sent send(int fd) override {
    if (below_ == nullptr) return StreamWire::send(fd);
    if (waiting_.size() > 0) {
      below_->take(waiting_.begin(), waiting_.size());
      waiting_.clear();
    }
    const Sent sent = below_->send(fd);
    if (sent == Sent::failed) problem_ = below_->problem();
    return sent;
  }

  bool hasOutput() const override { return waiting_.size() > 0 || (below_ != nullptr && below_->hasOutput()); }

  ssize_t receive(int fd, uint8_t* to, size_t room) override {
    ssize_t got = below_ != nullptr ? below_->receive(fd, to, room) : recv(fd, to, room, 0);
    if (below_ != nullptr && !hasAsked_ && below_->isOpen()) {
      const int error = errno;
      ask();
      errno = error;
    }
    if (got < 0 && below_ != nullptr) problem_ = below_->problem();
    if (got <= 0) return got;
    if (!isOpen_) {
      got = readAnswer(to, static_cast<size_t>(got));
      if (got < 0) return got;
    }
    const ssize_t payload = unframe(to, static_cast<size_t>(got));
    if (payload == 0) return isClosed_ ? 0 : nothingYet();
    return payload;
  }

  void end() override {
    if (!isOpen_) return;
    constexpr uint8_t normal[] = {0x03, 0xe8};
    frame(CLOSE, normal, sizeof normal);
  }

 private:
  static constexpr uint8_t BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
  // The key of the standard's own example, so that its answer is known beforehand.
  static constexpr const char* request =
      "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
  static constexpr const char* accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
  static constexpr size_t answerBytesMax = 8192;

  void ask() {
    hasAsked_ = true;
    memcpy(waiting_.grow(strlen(request)), request, strlen(request));
  }

  // Returns how many bytes behind the answer were moved to the front of `bytes`, or -1.
  ssize_t readAnswer(uint8_t* bytes, size_t count) {
    answer_.append(reinterpret_cast<const char*>(bytes), count);
    const size_t end = answer_.find("\r\n\r\n");
    if (end == std::string::npos) return answer_.size() > answerBytesMax ? fails("no end of the answer to the upgrade") : nothingYet();
    if (answer_.compare(0, 12, "HTTP/1.1 101") != 0) return fails("upgrade refused: " + answer_.substr(0, answer_.find("\r\n")));
    if (answer_.find(accepted) == std::string::npos) return fails("the answer to the upgrade has another key");
    isOpen_ = true;
    const size_t behind = answer_.size() - end - 4;
    memcpy(bytes, answer_.data() + end + 4, behind);
    std::string().swap(answer_);
    return static_cast<ssize_t>(behind);
  }

  void frame(uint8_t opcode, const uint8_t* bytes, size_t count) {
    const size_t extended = count < 126 ? 0 : count < 65536 ? 2 : 8;
    uint8_t* p = waiting_.grow(2 + extended + 4 + count);
    *p++ = 0x80 | opcode;
    *p++ = 0x80 | static_cast<uint8_t>(extended == 0 ? count : extended == 2 ? 126 : 127);
    for (size_t i = extended; i > 0; i--) *p++ = static_cast<uint8_t>(count >> 8 * (i - 1));
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    const uint32_t key = static_cast<uint32_t>(random_ >> 32);
    memcpy(p, &key, 4);
    p += 4;
    const uint64_t keys = static_cast<uint64_t>(key) << 32 | key;
    size_t at = 0;
    for (; at + 8 <= count; at += 8) {
      uint64_t eight;
      memcpy(&eight, bytes + at, 8);
      eight ^= keys;
      memcpy(p + at, &eight, 8);
    }
    for (; at < count; at++) p[at] = bytes[at] ^ reinterpret_cast<const uint8_t*>(&key)[at & 3];
  }

  // Leaves the payload of binary frames at the front of `bytes`, and returns its length. A frame may begin and end anywhere.
  ssize_t unframe(uint8_t* bytes, size_t count) {
    uint8_t* put = bytes;
    for (const uint8_t *at = bytes, *end = bytes + count; at < end;) {
      if (!isInPayload_) {
        head_[headBytes_++] = *at++;
        const size_t extended = headBytes_ < 2 || head_[1] < 126 ? 0 : head_[1] == 126 ? 2 : 8;
        if (headBytes_ < 2 + extended) continue;
        if (head_[1] & 0x80) return fails("a masked frame from the broker");
        left_ = extended == 0 ? head_[1] : 0;
        for (size_t i = 0; i < extended; i++) left_ = left_ << 8 | head_[2 + i];
        isInPayload_ = true;
      }
      const size_t taken = std::min<uint64_t>(left_, static_cast<uint64_t>(end - at));
      if (head_[0] & 0x08) {
        control_.append(reinterpret_cast<const char*>(at), taken);
      } else {
        if (put != at) memmove(put, at, taken);
        put += taken;
      }
      at += taken;
      left_ -= taken;
      if (left_ > 0) continue;
      isInPayload_ = false;
      headBytes_ = 0;
      if (head_[0] & 0x08) onControl();
    }
    return put - bytes;
  }

  void onControl() {
    const uint8_t opcode = head_[0] & 0x0f;
    if (opcode == PING) frame(PONG, reinterpret_cast<const uint8_t*>(control_.data()), control_.size());
    if (opcode == CLOSE) isClosed_ = true;
    control_.clear();
  }

  std::unique_ptr<StreamWire> below_;
  uint64_t random_;
  std::string answer_;   // the beginning of the answer to the upgrade
  std::string control_;  // payload of a control frame
  uint8_t head_[10];
  size_t headBytes_ = 0;
  uint64_t left_ = 0;  // of the payload of the frame that has begun
  bool isInPayload_ = false;
  bool hasAsked_ = false;
  bool isOpen_ = false;
  bool isClosed_ = false;
};
