// Who is who: Wids, and the mapping between phone numbers and the LIDs that hide them.
__d("WAWebWid", [], function (t, n, r, o, a, i, l) {
  const servers = ["c.us", "g.us", "lid", "call", "broadcast", "newsletter", "s.whatsapp.net", "bot"];

  class Wid {
    constructor(serialized, options) {
      if (!options?.intentionallyUsePrivateConstructor) {
        throw new Error("Wid is not to be constructed, use WAWebWidFactory");
      }
      const at = serialized.lastIndexOf("@");
      this.user = at < 0 ? "" : serialized.slice(0, at);
      this.server = serialized.slice(at + 1);
      if (!servers.includes(this.server)) {
        throw new Error("Wid error: invalid wid");
      }
      this._serialized = serialized;
    }

    toString() {
      return this._serialized;
    }

    toJSON() {
      return this._serialized;
    }

    toJid() {
      return this.server === "c.us" ? `${this.user}@s.whatsapp.net` : this._serialized;
    }

    toLogString() {
      return `${this.user.slice(0, 2)}…@${this.server}`;
    }

    equals(other) {
      return other instanceof Wid && other._serialized === this._serialized;
    }

    isUser() {
      return ["c.us", "lid", "bot"].includes(this.server);
    }

    isRegularUser() {
      return this.server === "c.us" || this.server === "lid";
    }

    isLid() {
      return this.server === "lid";
    }

    isGroup() {
      return this.server === "g.us";
    }

    isGroupCall() {
      return this.server === "call";
    }

    isBroadcast() {
      return this.server === "broadcast";
    }

    isNewsletter() {
      return this.server === "newsletter";
    }

    isBot() {
      return this.server === "bot";
    }

    isStatus() {
      return this._serialized === "status@broadcast";
    }

    isPSA() {
      return this._serialized === "0@c.us";
    }

    isServer() {
      return this.server === "s.whatsapp.net";
    }

    static isXWid(server, wid) {
      return String(wid?._serialized ?? wid).endsWith(`@${server}`);
    }

    static isWid(wid) {
      return servers.some((server) => Wid.isXWid(server, wid));
    }

    static isLid(wid) {
      return Wid.isXWid("lid", wid);
    }

    static isGroup(wid) {
      return Wid.isXWid("g.us", wid);
    }

    static isUser(wid) {
      return Wid.isXWid("c.us", wid) || Wid.isXWid("lid", wid);
    }
  }
  l.default = Wid;
});

__d("WAWebWidFactory", ["WAWebWid"], function (t, n, r, o, a, i, l) {
  const make = (serialized) => new (r("WAWebWid"))(serialized, { intentionallyUsePrivateConstructor: true });

  function createWid(given) {
    const text = String(given?._serialized ?? given).replace("@s.whatsapp.net", "@c.us");
    return make(text);
  }

  function createUserWidOrThrow(user, server = "c.us") {
    const bare = String(user).split("@")[0];
    if (!/^\d{5,20}$/.test(bare)) {
      throw new Error("createUserWid: not a user");
    }
    return make(`${bare}@${server}`);
  }

  l.createWid = createWid;
  l.createUserWidOrThrow = createUserWidOrThrow;
  l.createWidFromWidLike = (given) => createWid(given);
  l.isWidlike = (given) => typeof given === "object" && given !== null && r("WAWebWid").isWid(given);
  l.toUserWid = (wid) => createWid(wid);
  l.toUserWidOrThrow = (wid) => createWid(wid);
  l.toChatWid = (wid) => createWid(wid);
  l.userJidToUserWid = (jid) => createWid(jid);
});

__d("WAWebLidPnCache", ["WAWebWidFactory"], function (t, n, r, o, a, i, l) {
  const phoneOfLid = new Map();
  const lidOfPhone = new Map();

  l.lidPnCache = {
    add(lid, entry) {
      phoneOfLid.set(lid.toString(), entry);
      lidOfPhone.set(entry.phoneNumber.toString(), entry.lid);
    },
    getPhoneNumber: (lid) => phoneOfLid.get(lid.toString())?.phoneNumber,
    getCurrentLid: (phone) => lidOfPhone.get(phone.toString()),
    getLidEntry: (lid) => phoneOfLid.get(lid.toString()),
    getAllLids: () => [...lidOfPhone.values()],
    clear() {
      phoneOfLid.clear();
      lidOfPhone.clear();
    },
  };
});

__d("WAWebApiContact", ["WAWebLidPnCache"], function (t, n, r, o, a, i, l) {
  const cache = () => o("WAWebLidPnCache").lidPnCache;
  l.getPhoneNumber = (wid) => (wid.isLid() ? cache().getPhoneNumber(wid) : wid);
  l.getCurrentLid = (wid) => (wid.isLid() ? wid : cache().getCurrentLid(wid));
  l.getAlternateUserWid = (wid) => (wid.isLid() ? cache().getPhoneNumber(wid) : cache().getCurrentLid(wid));
  l.hasLidMapping = (wid) => cache().getLidEntry(wid) !== undefined;
});

__d("WAWebLid1X1MigrationGating", [], function (t, n, r, o, a, i, l) {
  l.Lid1X1MigrationUtils = { isLidMigrated: () => true, isSyncdSessionMigrated: () => true };
});

__d("WAWebLidMigrationUtils", ["WAWebApiContact"], function (t, n, r, o, a, i, l) {
  function toUserLidOrThrow(wid) {
    const lid = o("WAWebApiContact").getCurrentLid(wid);
    if (lid === undefined) {
      throw new Error("toUserLidOrThrow: no LID for this user");
    }
    return lid;
  }
  l.toPn = (wid) => o("WAWebApiContact").getPhoneNumber(wid) ?? null;
  l.toLid = (wid) => o("WAWebApiContact").getCurrentLid(wid) ?? null;
  l.toUserLid = (wid) => o("WAWebApiContact").getCurrentLid(wid) ?? null;
  l.toUserLidOrThrow = toUserLidOrThrow;
  l.shouldHaveAccountLid = (wid) => wid.isUser();
});

__d("WAWebUserPrefsMeUser", ["WAWebWidFactory", "WAWebServerLink"], function (t, n, r, o, a, i, l) {
  const wid = (text) => (text ? o("WAWebWidFactory").createWid(text) : undefined);
  const me = () => (o("WAWebServerLink").session.loggedIn ? o("WAWebServerLink").session.me : null);
  l.getMaybeMePnUser = () => wid(me()?.phone && `${me().phone}@c.us`);
  l.getMaybeMeLidUser = () => wid(me()?.lid && `${me().lid}@lid`);
  l.isMeAccount = (given) =>
    [l.getMaybeMePnUser(), l.getMaybeMeLidUser()].some((mine) => mine !== undefined && mine.equals(given));
});
