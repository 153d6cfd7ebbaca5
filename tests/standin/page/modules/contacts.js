// Contacts, what is shown of them, and the question to the server whether a number is on WhatsApp.
__d("WAWebContactModel", ["WAWebBaseModel"], function (t, n, r, o, a, i, l) {
  class Contact extends o("WAWebBaseModel").BaseModel {}
  Contact.prototype.proxyName = "contact";
  l.default = Contact;
});

__d("WAWebContactCollection", ["WAWebCollection", "WAWebContactModel"], function (t, n, r, o, a, i, l) {
  class ContactCollectionImpl extends r("WAWebCollection") {
    static model = r("WAWebContactModel");

    gadd(id, properties = {}) {
      return this.get(id) ?? this.add(new (r("WAWebContactModel"))({ id, ...properties }));
    }
  }
  l.ContactCollectionImpl = ContactCollectionImpl;
  l.ContactCollection = new ContactCollectionImpl();
});

__d("WAWebContactGetters", [], function (t, n, r, o, a, i, l) {
  l.getIsMyContact = (contact) => Boolean(contact.name);
  l.getMentionName = (contact) => contact.shortName ?? contact.pushname;
  l.getNotifyName = (contact) => contact.pushname;
  l.getUserid = (contact) => contact.id.user;
  l.getIsMe = () => false;
  l.getIsUser = (contact) => contact.id.isUser();
  l.getIsGroup = (contact) => contact.id.isGroup();
  l.getIsWAContact = () => true;
});

__d("WAWebFrontendContactGetters", ["WAWebApiContact"], function (t, n, r, o, a, i, l) {
  const phone = (contact) => o("WAWebApiContact").getPhoneNumber(contact.id);
  l.getPhoneNumber = phone;
  l.getPnForLid = (contact) => (contact.id.isLid() ? phone(contact) : null);
  l.getTextStatusString = () => null;
  l.getDisplayName = (contact) => contact.name ?? contact.pushname ?? l.getFormattedPhone(contact);
  l.getFormattedPhone = (contact) => (phone(contact) ? `+${phone(contact).user}` : "");
  l.getFormattedName = (contact) => l.getDisplayName(contact);
  l.getFormattedShortName = (contact) => l.getDisplayName(contact);
  l.getFormattedUser = (contact) => l.getFormattedPhone(contact);
  l.getSearchName = (contact) => l.getDisplayName(contact).toLowerCase();
});

__d("WAWebQueryExistsJob", ["WAWebServerLink", "WAWebWidFactory", "WAWebLidPnCache"], function (t, n, r, o, a, i, l) {
  async function queryPhoneExists(phone) {
    const answer = await o("WAWebServerLink").query({ type: "exists", phone: String(phone).replace(/^\+/, "") });
    if (!answer.exists) {
      return null;
    }
    const wid = o("WAWebWidFactory").createUserWidOrThrow(answer.phone);
    if (answer.lid) {
      const lid = o("WAWebWidFactory").createUserWidOrThrow(answer.lid, "lid");
      o("WAWebLidPnCache").lidPnCache.add(lid, { lid, phoneNumber: wid, phoneNumberCreatedAt: Date.now() / 1000 });
    }
    return { wid, biz: false };
  }

  async function queryWidExists(wid) {
    if (wid.isLid()) {
      const phone = o("WAWebLidPnCache").lidPnCache.getPhoneNumber(wid);
      return phone ? { wid, biz: false } : null;
    }
    return queryPhoneExists(wid.user);
  }

  l.queryPhoneExists = queryPhoneExists;
  l.queryWidExists = queryWidExists;
});
