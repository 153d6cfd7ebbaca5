"""The whole product on loopback: ``python -m tests.demo`` measures it, ``tests.demo.sandbox`` lends it out."""
