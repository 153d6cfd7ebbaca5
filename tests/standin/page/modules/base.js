// Event emitter, model and collection: what everything else of the page is made of.
__d("WAWebEventEmitter", [], function (t, n, r, o, a, i, l) {
  class EventEmitter {
    on(name, callback, context) {
      if (typeof callback !== "function") {
        throw new TypeError("Callback parameter passed is not a function");
      }
      this._events ??= {};
      for (const one of String(name).split(/\s+/)) {
        (this._events[one] ??= []).push({ callback, context });
      }
      return this;
    }

    once(name, callback, context) {
      const wrapped = (...args) => {
        this.off(name, wrapped);
        callback.apply(context ?? this, args);
      };
      return this.on(name, wrapped);
    }

    off(name, callback, context) {
      for (const one of name === undefined ? Object.keys(this._events ?? {}) : String(name).split(/\s+/)) {
        const kept = (this._events?.[one] ?? []).filter(
          (entry) =>
            (callback !== undefined && entry.callback !== callback) ||
            (context !== undefined && entry.context !== context),
        );
        if (this._events) {
          this._events[one] = kept;
        }
      }
      return this;
    }

    trigger(name, ...args) {
      for (const entry of (this._events?.[name] ?? []).slice()) {
        entry.callback.apply(entry.context ?? this, args);
      }
      for (const entry of (this._events?.all ?? []).slice()) {
        entry.callback.apply(entry.context ?? this, [name, ...args]);
      }
      return this;
    }

    listenTo(other, name, callback) {
      (this._listening ??= []).push({ other, name, callback });
      other.on(name, callback, this);
      return this;
    }

    stopListening(other, name) {
      for (const entry of this._listening ?? []) {
        if ((!other || entry.other === other) && (!name || entry.name === name)) {
          entry.other.off(entry.name, entry.callback, this);
        }
      }
      return this;
    }
  }
  l.default = EventEmitter;
});

__d("WAWebBaseModel", ["WAWebEventEmitter"], function (t, n, r, o, a, i, l) {
  // A model with `set`, whose every property tells of its changes with (model, value).
  class BaseModel extends r("WAWebEventEmitter") {
    constructor(properties = {}) {
      super();
      this.attributes = {};
      this.set(properties);
    }

    set(name, value) {
      const changes = typeof name === "string" ? { [name]: value } : name;
      for (const [key, next] of Object.entries(changes)) {
        if (!(key in this)) {
          Object.defineProperty(this, key, {
            configurable: true,
            enumerable: true,
            get: () => this.attributes[key],
            set: (given) => this.set(key, given),
          });
        }
        const before = this.attributes[key];
        this.attributes[key] = next;
        if (before !== next) {
          this.trigger(`change:${key}`, this, next);
        }
      }
      return this;
    }
  }
  l.BaseModel = BaseModel;
  l.defineModel = (constructor) => constructor;
});

__d("WAWebCollection", ["WAWebEventEmitter"], function (t, n, r, o, a, i, l) {
  class Collection extends r("WAWebEventEmitter") {
    constructor() {
      super();
      if (this.constructor.model === undefined) {
        throw new Error("Collection initialized without model");
      }
      this._models = [];
      this._index = Object.create(null);
    }

    get(id) {
      return this._index[String(id?._serialized ?? id)];
    }

    add(model) {
      this._models.push(model);
      this._index[String(model.id?._serialized ?? model.id)] = model;
      this.trigger("add", model);
      return model;
    }

    remove(id) {
      const model = this.get(id);
      if (model !== undefined) {
        this._models.splice(this._models.indexOf(model), 1);
        delete this._index[String(model.id?._serialized ?? model.id)];
        this.trigger("remove", model);
      }
      return model;
    }

    getModelsArray() {
      return this._models.slice();
    }

    get length() {
      return this._models.length;
    }
  }
  l.default = Collection;
});
